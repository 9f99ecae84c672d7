#!/usr/bin/python3
# vm:
"""keepopen over the simulated adapter: it is pulled out and put back, and the client stays."""

from guest import ComPort, Ftdi, check, start_broker, wait_for

usb = Ftdi(serial="K1")
path = usb.path()
broker = start_broker(f"""
connection: &kept
  accepter: telnet(rfc2217),tcp,3001
  connector: keepopen(retry-time=200m),serialdev,{path},9600n81,local
""")
client = ComPort(3001)
client.send(b"first")
wait_for(lambda: usb.received() == b"first", 10, lambda: f"the first data: {usb.received()}")
check(client.baud(57600) == 57600, "the speed is granted")
check(client.control(9) == 9, "DTR is off")
wait_for(lambda: abs(usb.lines()["baud"] - 57600) < 600, 10, lambda: usb.lines())
wait_for(lambda: not usb.lines()["dtr"], 10, lambda: usb.lines())
before = broker.fds()
for turn in range(3):
    usb.forget()
    usb.unplug()
    wait_for(lambda: broker.log().count("tried again every") == turn + 1, 10, "the loss is told once")
    check(usb.tty() is None, "the tty is gone, and nobody holds it")
    client.send(b"while it is away")
    usb.plug()
    check(usb.path() == path, "it comes back under its name")
    wait_for(lambda: usb.received() == b"while it is away", 20, lambda: f"what waited: {usb.received()}")
    wait_for(lambda: abs(usb.lines()["baud"] - 57600) < 600, 10, lambda: usb.lines())
    wait_for(lambda: not usb.lines()["dtr"] and usb.lines()["rts"], 10, lambda: usb.lines())
    usb.send(b"and back")
    check(client.read(8) == b"and back", "data of the adapter that came back")
# a write that had to wait for the driver has one more until the device is closed
check(broker.fds() <= before + 1, f"{broker.fds()} descriptors after three times, {before} before")
told = len(client.states())
usb.set_modem(cts=False)
client.wait(
    lambda: any(state & 0x11 == 0x01 for _, state in client.states()[told:]), 10, "CTS off is told"
)
client.close()
wait_for(lambda: not usb.lines()["rts"], 10, "RTS falls at the last close")
check(broker.stop() < 10, "stopped at once")
