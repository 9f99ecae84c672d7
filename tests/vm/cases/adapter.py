#!/usr/bin/python3
# vm:
"""The simulated adapter through the broker: data, lines at connect and close, speed, unplug."""

from guest import Ftdi, connect, receive, start_broker, until_end, wait_for

usb = Ftdi(serial="A1")
broker = start_broker(f"""
connection: &raw
  accepter: tcp,127.0.0.1,3001
  connector: serialdev,{usb.path()},57600e72
""")
before = usb.lines()
assert not before["dtr"] and not before["rts"], before
client = connect(3001)
client.sendall(b"hello")
wait_for(lambda: usb.received() == b"hello", 10, lambda: f"hello on the wire: {usb.received()}")
now = usb.lines()
assert now["dtr"] and now["rts"], now
assert abs(now["baud"] - 57600) < 600 and now["frame"] == "7E2", now
data = bytes(range(128)) * 20
usb.send(data)
assert receive(client, len(data)) == data
client.close()
wait_for(lambda: not usb.lines()["dtr"], 10, "DTR falls at the last close")
assert not usb.lines()["rts"]
for at, name, value in usb.changes:
    print(f"{at - usb.changes[0][0]:6.2f} {name} {value}")

client = connect(3001)
wait_for(lambda: usb.lines()["dtr"], 10, "DTR rises with the next client")
usb.unplug()
print("text to the client at unplug:", until_end(client))
assert usb.tty() is None
usb.plug()
assert usb.path()
assert broker.stop() < 10
