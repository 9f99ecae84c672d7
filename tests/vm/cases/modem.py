#!/usr/bin/python3
# vm: --modem --limit 200
"""Modem lines: what is driven at open and close, and how soon clients hear of what comes in."""

import os
import statistics
import time

from guest import Acm, Ftdi, check, connect, outputs, start_broker, start_ser2net, until_end, wait_for, wire
from telnet import (
    NOTIFY_MODEMSTATE,
    SET_BAUDRATE,
    SET_DATASIZE,
    SET_MODEMSTATE_MASK,
    SET_PARITY,
    SET_STOPSIZE,
    ComPort,
)

A = "/dev/vm/a"
CTS, DSR, RI, DCD = 0x10, 0x20, 0x40, 0x80
BITS = {"cts": CTS, "dsr": DSR, "ri": RI, "dcd": DCD}


def port(name, number, device, words, accepter="tcp"):
    return f"""
connection: &{name}
  accepter: {accepter},127.0.0.1,{number}
  connector: serialdev,{device},9600n81{words}
"""


def raised(dtr, rts):
    return {"dtr": dtr, "rts": rts}


def settled(broker, number, device=A):
    """DTR and RTS while a client is connected, and after it."""
    before = transmitted()
    client = connect(number)
    # the break at open is the last thing that is set; what comes out is behind it
    client.sendall(b"U")
    wait_for(lambda: transmitted() > before, 10, "a byte on the line")
    during = outputs("a")
    client.close()
    wait_for(lambda: not broker.opened(device), 10, "the device is closed")
    return during, outputs("a")


def transmitted():
    """Bytes that UART a has sent so far."""
    with open("/proc/tty/driver/serial") as table:
        number = os.path.basename(os.path.realpath(A)).removeprefix("ttyS")
        for line in table:
            if line.startswith(f"{number}:"):
                return int(line.split("tx:")[1].split()[0])
    raise AssertionError("no such UART")


def driven():
    """As configured while open; at close as `hangup-when-done` says, and without it as ser2net."""
    rows = [
        ("", raised(True, True), raised(False, False)),
        (",local,hangup-when-done", raised(True, True), raised(False, False)),
        (",local,hangup-when-done=false", raised(True, True), raised(True, True)),
        (",local,dtr=off,hangup-when-done", raised(False, True), raised(False, False)),
        (",local,rts=off,hangup-when-done", raised(True, False), raised(False, False)),
        (",local,dtr=off,rts=off,hangup-when-done", raised(False, False), raised(False, False)),
        (",local,rtscts,hangup-when-done", raised(True, True), raised(False, False)),
        (",local", raised(True, True), raised(False, False)),
    ]
    text = "".join(port(f"p{i}", 3001 + i, A, words) for i, (words, _, _) in enumerate(rows))
    # nobody has the far end open, so there is no CTS but this
    wire("a", cts=True)
    broker = start_broker(text)
    for i, (words, during, after) in enumerate(rows):
        found = settled(broker, 3001 + i)
        print(f"9600n81{words}: {found[0]} while open, {found[1]} after")
        check(found == (during, after), f"9600n81{words}: {found}, not {(during, after)}")
    broker.stop()
    ser2net = start_ser2net(text)
    for i in (0, 7):
        found = settled(ser2net, 3001 + i)
        check(found == rows[i][1:], f"ser2net differs with 9600n81{rows[i][0]}: {found}")
    ser2net.stop()
    wire("a", cts=None)


def held(usb):
    """DTR and RTS that are configured off stay off, whatever else a client sets."""
    words = ",local,dtr=off,rts=off"
    broker = start_broker(port("uart", 3001, A, words, rfc2217) + port("usb", 3002, usb.path(), words, rfc2217))
    for number, name, look in ((3001, "16550", lambda: outputs("a")), (3002, "FTDI", lambda: {k: usb.lines()[k] for k in ("dtr", "rts")})):
        usb.forget()
        client = ComPort(number)
        client.wait(client.states, 10, "the first modem state")
        check(look() == raised(False, False), f"{name}: {look()}")
        for command, values in ((SET_BAUDRATE, [0, 0, 75, 0]), (SET_DATASIZE, [7]), (SET_PARITY, [3]), (SET_STOPSIZE, [2])):
            client.ask(command, values)
            check(look() == raised(False, False), f"{name}, after command {command}: {look()}")
        for flow in (2, 1):
            client.control(flow)
            check(look() == raised(False, False), f"{name}, after flow control {flow}: {look()}")
        check(client.control(8) == 8 and look() == raised(True, False), f"{name}, DTR on: {look()}")
        check(client.control(11) == 11 and look() == raised(True, True), f"{name}, RTS on: {look()}")
        check(client.control(9) == 9 and look() == raised(False, True), f"{name}, DTR off: {look()}")
        client.close()
        wait_for(lambda: not broker.opened(usb.path()) and not broker.opened(A), 10, "the device is closed")
    # the kernel raises both in open(2); this is how long that shows
    moves = [change for change in usb.changes if change[1] in ("dtr", "rts")][:4]
    rises = {name: at for at, name, on in moves if on}
    falls = {name: at for at, name, on in moves if not on}
    check(rises.keys() == falls.keys() == {"dtr", "rts"}, f"the first changes are {moves}")
    pulses = {name: round((falls[name] - rises[name]) * 1000, 1) for name in rises}
    print(f"FTDI: what open(2) raises is off again after (ms) {pulses}")
    broker.stop()


def watchers(broker):
    """Threads that watch modem lines."""
    count = 0
    for task in os.listdir(f"/proc/{broker.pid}/task"):
        try:
            with open(f"/proc/{broker.pid}/task/{task}/comm") as name:
                count += name.read() == "modem-lines\n"
        except (FileNotFoundError, ProcessLookupError):
            pass  # it has ended since
    return count


def notices(client, name, change):
    """Flips an input twice; the times until the client was told, in ms. Each is told once."""
    times = []
    for on in (not bool(client.states()[-1][1] & BITS[name]), bool(client.states()[-1][1] & BITS[name])):
        seen = len(client.states())
        begun = time.monotonic()
        change(name, on)
        client.wait(lambda: len(client.states()) > seen, 5, f"a notice of {name}")
        at, state = client.states()[seen]
        check(bool(state & BITS[name]) == on, f"{name} is {on}, the notice says {state:#04x}")
        check(state & BITS[name] >> 4, f"the notice of {name} shows no change: {state:#04x}")
        times.append((at - begun) * 1000)
    return times


def told(what, broker, number, device, change, names, pulse=None):
    """Notices of a device through all that a session may do."""
    client = ComPort(number)
    client.wait(client.states, 10, "the first modem state")
    wait_for(lambda: watchers(broker) == 1, 5, "a watch")
    times = []
    for _ in range(5):
        for name in names:
            times += notices(client, name, change)
    print(f"{what}: notices after {statistics.median(times):.1f} ms (median), {max(times):.1f} ms (longest of {len(times)})")
    # looking once a second would give 500; on an idle machine this is below 20
    check(statistics.median(times) < 200, f"{what}: {times}")
    # the 8250 driver forgets to report edges of a line with CLOCAL when it is programmed
    check(client.baud(19200) == 19200, "the speed is not set")
    times = [time for name in names for time in notices(client, name, change)]
    print(f"{what}: after a change of the speed {statistics.median(times):.1f} ms")
    check(statistics.median(times) < 200, f"{what}, after a change of the speed: {times}")
    if pulse:
        seen = len(client.states())
        pulse(names[0])
        client.wait(lambda: len(client.states()) > seen, 2, "a pulse is told of")
        check(client.states()[seen][1] & BITS[names[0]] >> 4, f"{client.states()[seen:]}")

    while client.pump(1):
        pass  # the end of the pulse
    before = broker.cpu_seconds()
    begun = time.monotonic()
    check(not client.pump(3), "something is told though nothing happens")
    used = (broker.cpu_seconds() - before) / (time.monotonic() - begun)
    print(f"{what}: idle with a watch: {used * 100:.1f} % of a processor 15 times slower than usual")
    check(used < 0.1, "it is busy though nothing happens")

    # who does not want to know costs no thread and is not told
    client.ask(SET_MODEMSTATE_MASK, [0])
    wait_for(lambda: watchers(broker) == 0, 5, "no watch for nobody")
    client.ask(SET_MODEMSTATE_MASK, [0xFF])
    wait_for(lambda: watchers(broker) == 1, 5, "a watch again")
    seen = len(client.states())
    client.order(NOTIFY_MODEMSTATE, [])
    client.wait(lambda: len(client.states()) > seen, 5, "an answer to a poll")
    begun = time.monotonic()
    client.close()
    wait_for(lambda: not broker.opened(device), 5, "the device is closed under the watch")
    print(f"{what}: closed {(time.monotonic() - begun) * 1000:.0f} ms after the client")
    wait_for(lambda: watchers(broker) == 0, 5, "the watch has ended")


def carrier(broker, number, ends):
    """A drop of DCD ends the client's connection, but with `local` it does not."""
    wire("a", dcd=True)
    with broker.opening():
        client = connect(number)
    wire("a", dcd=False)
    if ends:
        until_end(client, 5)
        wait_for(lambda: "carrier (DCD) dropped" in broker.log(), 5, broker.log)
    else:
        client.settimeout(0.5)
        try:
            check(client.recv(1) != b"", "it was closed")
        except TimeoutError:
            pass
    client.close()
    wait_for(lambda: not broker.opened(A), 10, "the device is closed")
    # a line without carrier can be opened
    with broker.opening("the device is open without carrier"):
        client = connect(number)
    client.close()
    wait_for(lambda: not broker.opened(A), 10, "the device is closed")
    wire("a", dcd=None)


driven()
rfc2217 = "telnet(rfc2217),tcp"
usb = Ftdi(serial="M1")
held(usb)
acm = Acm(serial="M2")
path = {"uart": A, "usb": usb.path(), "acm": acm.path()}
gadget = os.open(acm.gadget, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
config = "".join([
    port("uart", 3001, path["uart"], ",local", rfc2217),
    port("usb", 3002, path["usb"], ",local", rfc2217),
    port("acm", 3003, path["acm"], ",local", rfc2217),
    port("modem", 3004, A, ""),
    port("wire", 3005, A, ",local"),
])  # fmt: skip
broker = start_broker(config)
files = broker.fds()
wire("a", cts=False, dsr=False, dcd=False, ri=False)


told("16550", broker, 3001, A, lambda name, on: wire("a", **{name: on}), ["cts", "dsr", "dcd"])
told("FTDI", broker, 3002, path["usb"], lambda name, on: usb.set_modem(**{name: on}), ["cts", "dsr", "dcd", "ri"], usb.pulse)
wire("a", cts=None, dsr=None, dcd=None, ri=None)


def gadget_lines(name, on):
    """The gadget raises DSR and DCD while its port is open."""
    global gadget
    if on:
        gadget = os.open(acm.gadget, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    else:
        os.close(gadget)


told("CDC-ACM", broker, 3003, path["acm"], gadget_lines, ["dcd"])
carrier(broker, 3004, True)
carrier(broker, 3005, False)
wait_for(lambda: broker.fds() <= files, 5, lambda: f"{broker.fds()} descriptors are left of {files}")
check("refuse" not in broker.log(), broker.log())
broker.stop()
