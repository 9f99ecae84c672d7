#!/usr/bin/python3
# vm: --modem --limit 90
"""Speeds and frames: RFC 2217 answers tell what the driver has really set."""

import fcntl
import os
import struct

from guest import TCGETS2, Acm, Ftdi, Serial, check, start_broker, wait_for
from telnet import SET_DATASIZE, SET_PARITY, SET_STOPSIZE, ComPort

usb = Ftdi(serial="S1")
acm = Acm(serial="S2")
paths = ["/dev/vm/a", usb.path(), acm.path()]
names = ["16550", "FTDI", "CDC-ACM"]
broker = start_broker("".join(f"""
connection: &{name.lower()}
  accepter: telnet(rfc2217),tcp,127.0.0.1,{3001 + i}
  connector: serialdev,{path},9600n81,local
""" for i, (name, path) in enumerate(zip(names, paths))))  # fmt: skip


def in_force(path):
    """Speed and control flags as the driver has them."""
    fd = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        settings = fcntl.ioctl(fd, TCGETS2, bytes(44))
    finally:
        os.close(fd)
    return struct.unpack_from("I", settings, 40)[0], struct.unpack_from("I", settings, 8)[0]


SPEEDS = [50, 110, 300, 1200, 12345, 31250, 74880, 115200, 230400, 250000, 921600, 3000000, 4000000, 12000000]
TAKEN = {
    "16550": [50, 110, 300, 1200, 12345, 31250, 74880, 115200],
    "FTDI": [300, 1200, 12345, 31250, 74880, 115200, 230400, 250000, 921600, 3000000],
    "CDC-ACM": SPEEDS,
}
for i, (name, path) in enumerate(zip(names, paths)):
    client = ComPort(3001 + i)
    others = []
    for speed in SPEEDS:
        answer = client.baud(speed)
        force = in_force(path)[0]
        check(answer == force, f"{name}: {speed} asked for, {answer} answered, {force} in force")
        if speed in TAKEN[name]:
            check(answer == speed, f"{name}: {answer} instead of {speed}")
        if answer != speed:
            others.append(f"{speed}: {answer}")
        if name == "FTDI" and speed in TAKEN[name]:
            wire = usb.lines()["baud"]
            check(abs(wire - speed) <= speed * 0.03, f"{speed} on the wire is {wire}")
    print(f"{name}: speeds that became others: {', '.join(others) or 'none'}")
    check(client.baud(9600) == 9600, f"{name}: 9600 after all of them")

    sizes = {}
    for size in (5, 6, 7, 8):
        answer = client.ask(SET_DATASIZE, [size])[0]
        flags = in_force(path)[1]
        check(answer == 5 + (flags >> 4 & 3), f"{name}: {size} bits asked for, {answer} answered, flags {flags:#o}")
        sizes[size] = answer
    print(f"{name}: data bits {sizes}")
    check(sizes[7] == 7 and sizes[8] == 8, f"{name}: {sizes}")
    for value, letter in ((2, "O"), (3, "E"), (4, "M"), (5, "S"), (1, "N")):
        check(client.ask(SET_PARITY, [value]) == bytes([value]), f"{name}: parity {letter}")
        if name == "FTDI":
            wait_for(lambda: usb.lines()["frame"] == f"8{letter}1", 5, lambda: f"8{letter}1: {usb.lines()}")
    check(client.ask(SET_STOPSIZE, [2]) == b"\2", f"{name}: two stop bits")
    client.close()
    wait_for(lambda: not broker.opened(path), 10, "the device is closed")

# what is programmed is what is on the wire: a far end at the same odd speed understands it
client = ComPort(3001)
check(client.baud(31250) == 31250, "31250")
far = Serial("/dev/vm/b", 31250)
client.send(b"odd")
check(far.read(3) == b"odd", "data at 31250")
check("refuses" not in broker.log(), broker.log())
broker.stop()
