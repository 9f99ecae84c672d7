#!/usr/bin/python3
# vm:
"""With `device-open: always` DTR and RTS rise once, and no client makes an edge; after a loss the
device is opened again."""

from guest import Ftdi, check, connect, receive, start_broker, wait_for

usb = Ftdi(serial="E1")
usb.path()
usb.forget()
broker = start_broker(f"""
connection: &usb
  accepter: telnet(rfc2217),tcp,127.0.0.1,3001
  connector: serialdev,{usb.path()},115200n81,local
  options:
    device-open: always
""")
# until the tty is raw, the kernel echoes what comes from the adapter
wait_for(lambda: broker.opens() == 1, 10, "the device is open without a client")
lines = usb.lines()
check(lines["dtr"] and lines["rts"], f"the lines are on: {lines}")


def edges():
    return [(name, value) for _, name, value in usb.changes if name in ("dtr", "rts")]


wait_for(lambda: len(edges()) == 2, 10, edges)
usb.send(b"nobody hears this")
for number in range(8):
    client = connect(3001)
    client.sendall(b"x")
    wait_for(lambda: len(usb.received()) > number, 10, "data to the adapter")
    check(usb.received() == b"x" * (number + 1), f"nothing else to the adapter: {usb.received()}")
    usb.send(b"yes")
    while receive(client, 1) != b"y":
        pass
    client.close()
    wait_for(lambda: broker.log().count("client left") == number + 1, 10, "the client has left")
check(len(edges()) == 2, f"edges: {edges()}")
print(f"8 clients, edges since the start: {edges()}")
usb.unplug()
usb.forget()
usb.plug()
usb.path()
wait_for(lambda: usb.lines()["dtr"], 10, "DTR is on again without a client")
client = connect(3001)
client.sendall(b"z")
wait_for(lambda: usb.received().endswith(b"z"), 10, "data after the adapter came back")
check(broker.stop() < 10, "stopped")
