#!/usr/bin/python3
# vm: --modem --limit 120
"""`low-latency`: ASYNC_LOW_LATENCY while the device is open, and a warning, once, where it is refused."""

import fcntl
import os
import struct
import termios

from guest import Acm, Ftdi, check, connect, start_broker, wait_for

ASYNC_LOW_LATENCY = 1 << 13

usb = Ftdi(serial="L1")
acm = Acm(serial="L2")
uart, adapter, modem = "/dev/vm/a", usb.path(), acm.path()
timer = f"/sys/bus/usb-serial/devices/{os.path.basename(adapter)}/latency_timer"
broker = start_broker("".join(f"""
connection: &p{i}
  accepter: tcp,127.0.0.1,{3001 + i}
  connector: serialdev,{path},9600n81,local{words}
""" for i, (path, words) in enumerate((
    (uart, ",low-latency"), (adapter, ",low-latency"), (modem, ",low-latency"), (adapter, ""),
))))  # fmt: skip


def latency():
    """Milliseconds that the adapter gathers what it receives."""
    with open(timer) as file:
        return int(file.read())


def flag(path):
    fd = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        serial = fcntl.ioctl(fd, termios.TIOCGSERIAL, bytes(72))
    finally:
        os.close(fd)
    return bool(struct.unpack_from("i", serial, 16)[0] & ASYNC_LOW_LATENCY)


def during(number, path, look):
    with broker.opening():
        client = connect(number)
    found = look()
    client.close()
    wait_for(lambda: not broker.opened(path), 10, "the device is closed")
    return found


before = latency()
check(before > 1, f"{before} ms at the start")
check(during(3004, adapter, latency) == before, "changed although nobody asked")
on = during(3002, adapter, latency)
print(f"FTDI: {before} ms, with low-latency {on} ms, after the close {latency()} ms")
check(on == 1 and latency() == before, "the latency timer")
check(not flag(uart) and during(3001, uart, lambda: flag(uart)) and not flag(uart), "the flag of the UART")
for _ in range(2):
    during(3003, modem, lambda: None)
said = [line for line in broker.log().splitlines() if "low-latency" in line]
print("\n".join(said))
check(len(said) == 1 and modem in said[0] and "WARN" in said[0], "one warning, of the device that has no such flag")
broker.stop()
