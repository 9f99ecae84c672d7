#!/usr/bin/python3
# vm:
"""The simulated adapter through the broker: data, lines at connect and close, speed, unplug."""

from guest import Ftdi, check, connect, receive, start_broker, until_end, wait_for

usb = Ftdi(serial="A1")
broker = start_broker(f"""
connection: &raw
  accepter: tcp,127.0.0.1,3001
  connector: serialdev,{usb.path()},57600e72
""")
before = usb.lines()
check(not before["dtr"] and not before["rts"], before)
client = connect(3001)
client.sendall(b"hello")
wait_for(lambda: usb.received() == b"hello", 10, lambda: f"hello on the wire: {usb.received()}")
now = usb.lines()
check(now["dtr"] and now["rts"], now)
check(abs(now["baud"] - 57600) < 600 and now["frame"] == "7E2", now)
data = bytes(range(128)) * 20
usb.send(data)
check(receive(client, len(data)) == data, "data from the adapter")
client.close()
wait_for(lambda: not usb.lines()["dtr"], 10, "DTR falls at the last close")
wait_for(lambda: not usb.lines()["rts"], 10, "and RTS")
for at, name, value in usb.changes:
    print(f"{at - usb.changes[0][0]:6.2f} {name} {value}")

client = connect(3001)
client.sendall(b"again")
wait_for(lambda: usb.received().endswith(b"again"), 10, "data of the next client")
check(usb.lines()["dtr"], "DTR rises with the next client")
usb.unplug()
check(until_end(client) == b"", "the client's connection ends, without a text")
check(usb.tty() is None, "the tty is gone")
usb.plug()
check(usb.path(), "it comes back")
client = connect(3001)
client.sendall(b"third")
wait_for(lambda: usb.received().endswith(b"third"), 10, "data after the adapter came back")
check(broker.stop() < 10, "stopped at once")
