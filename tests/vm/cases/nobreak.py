#!/usr/bin/python3
# vm:
"""A break that is on when the device is opened is ended, unless `nobreak` says to leave it."""

import fcntl

from guest import TIOCCBRK, TIOCSBRK, Ftdi, Serial, check, connect, start_broker, start_ser2net, wait_for

usb = Ftdi(serial="N1")
path = usb.path()
before = Serial(path)
for start in (start_ser2net, start_broker):
    for option, stays in (("", False), (",nobreak", True)):
        broker = start(f"""
connection: &port
  accepter: tcp,127.0.0.1,3001
  connector: serialdev,{path},57600n81,local{option}
""")
        fcntl.ioctl(before.fd, TIOCSBRK)
        wait_for(lambda: usb.lines()["break"], 5, "the break is on")
        usb.forget()
        client = connect(3001)
        client.sendall(b"x")
        # the byte is sent after all that is done at the open
        wait_for(lambda: usb.received() == b"x", 10, "a byte behind the open")
        print(f"{start.__name__[6:]}{option}: break {'on' if usb.lines()['break'] else 'off'}")
        check(usb.lines()["break"] == stays, f"the break {'stays' if stays else 'ends'}")
        client.close()
        wait_for(lambda: not broker.opened(path), 10, "the device closed")
        broker.stop()
        fcntl.ioctl(before.fd, TIOCCBRK)
