#!/usr/bin/python3
# vm: --modem --limit 90
"""Breaks: of the length that was asked for, on the wire of a UART and of a USB adapter; and received."""

import time

from guest import Ftdi, Serial, check, start_broker, wait_for
from telnet import NOTIFY_LINESTATE, SET_LINESTATE_MASK, ComPort

BREAK_ON, BREAK_OFF, BREAK_ASK = 5, 6, 4
BREAK = 0x10

usb = Ftdi(serial="B1")
broker = start_broker(f"""
connection: &uart
  accepter: telnet(rfc2217),tcp,127.0.0.1,3001
  connector: serialdev,/dev/vm/a,115200n81,local
connection: &usb
  accepter: telnet(rfc2217),tcp,127.0.0.1,3002
  connector: serialdev,{usb.path()},115200n81,local
""")
far = Serial("/dev/vm/b", 115200)


def breaks():
    """Begins and ends of breaks on the wire of the adapter: [(time, on)]."""
    return [(at, on) for at, name, on in usb.changes if name == "break"]


def leave(client, device):
    client.close()
    wait_for(lambda: not broker.opened(device), 10, "the device is closed")


# sent by a USB adapter, whose wire says when
client = ComPort(3002)
check(client.control(BREAK_ASK) == BREAK_OFF, "there is a break at the start")
usb.forget()
begun = time.monotonic()
check(client.control(BREAK_ON) == BREAK_ON, "the break is not begun")
check(client.control(BREAK_ASK) == BREAK_ON, "the break is not held")
wait_for(lambda: time.monotonic() > begun + 0.6, 2, "0.6 s")
check(client.control(BREAK_OFF) == BREAK_OFF, "the break is not ended")
wait_for(lambda: len(breaks()) == 2, 5, breaks)
length = breaks()[1][0] - breaks()[0][0]
print(f"FTDI: a break held by the client for 600 ms: {length * 1000:.0f} ms")
check(0.5 < length < 1.5, "the break has another length")

usb.forget()
client.tell(243)  # telnet BRK: 250 ms
wait_for(lambda: len(breaks()) == 2, 5, breaks)
length = breaks()[1][0] - breaks()[0][0]
print(f"FTDI: telnet BRK, 250 ms: {length * 1000:.0f} ms")
check(0.24 < length < 0.75, "the break has another length")
client.send(b"behind")
wait_for(lambda: usb.received().endswith(b"behind"), 5, "data behind the break")

# a break that the client leaves on ends with the close
client.control(BREAK_ON)
leave(client, usb.path())
check(not usb.lines()["break"], "the break ends at close")

# sent by a UART
client = ComPort(3001)
before = far.counters()["brk"]
client.tell(243)
wait_for(lambda: far.counters()["brk"] > before, 5, "the far end sees a break")
leave(client, "/dev/vm/a")

# received, by both
for name, number, cause in (
    ("16550", 3001, lambda: far.send_break(0.05)),
    ("FTDI", 3002, lambda: usb.error("break")),
):
    client = ComPort(number)
    client.wait(client.states, 10, "the first modem state")
    if number == 3001:
        cause()
        client.pump(1.5)
        check(not client.states(NOTIFY_LINESTATE), "told of a break that it does not want to know of")
    check(client.ask(SET_LINESTATE_MASK, [BREAK]) == bytes([BREAK]), "the mask is not taken")
    times = []
    for count in range(1, 6):
        begun = time.monotonic()
        cause()
        client.wait(lambda: len(client.states(NOTIFY_LINESTATE)) >= count, 5, "a notice of a break")
        at, state = client.states(NOTIFY_LINESTATE)[count - 1]
        check(state == BREAK, f"line state {state:#04x}")
        times.append((at - begun) * 1000)
        check(len(client.states(NOTIFY_LINESTATE)) == count, "told twice of one break")
    print(f"{name}: told of a break after {sorted(round(t) for t in times)} ms")
    # looking once a second would give 500; on an idle machine this is below 20, and the 50 of the break
    check(sorted(times)[2] < 200, f"{name}: {times}")
    # USB drivers leave the 0 of a break in the data whatever the settings say, for ser2net too
    check(not client.data.strip(b"\0" if number == 3002 else b""), f"data of a break: {bytes(client.data)!r}")
    leave(client, "/dev/vm/a" if number == 3001 else usb.path())
broker.stop()
