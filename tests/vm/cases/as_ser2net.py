#!/usr/bin/python3
# vm: --limit 240
"""The same steps with the real ser2net and with serbroker, on the simulated adapter; what came out
is compared. Where serbroker differs on purpose, the case says how and checks that too."""

import time

from guest import (
    ComPort, Ftdi, Telnet, check, connect, receive, start_broker, start_ser2net, wait_for,
)  # fmt: skip
from telnet import SET_DATASIZE, SET_MODEMSTATE_MASK, SET_PARITY, SET_STOPSIZE

usb = Ftdi(serial="C1")
PATH = usb.path()
CONFIG = f"""
connection: &raw
  accepter: tcp,127.0.0.1,3001
  connector: serialdev,{PATH},9600n81
connection: &local
  accepter: tcp,127.0.0.1,3002
  connector: serialdev,{PATH},9600n81,local
connection: &rfc2217
  accepter: telnet(rfc2217),tcp,127.0.0.1,3003
  connector: serialdev,{PATH},9600n81,local
connection: &telnet
  accepter: telnet,tcp,127.0.0.1,3004
  connector: serialdev,{PATH},9600n81,local
"""


def ready():
    wait_for(lambda: usb.lines()["dtr"], 10, "the device open")


def ended(client, seconds):
    """Whether the connection ends within that time."""
    client.settimeout(seconds)
    try:
        return client.recv(100) == b""
    except TimeoutError:
        return False
    except ConnectionResetError:
        return True


def through(port):
    """A connection on which data has gone in both directions, so that all is done that an open does."""
    usb.forget()
    client = connect(port)
    client.sendall(b"x")
    wait_for(lambda: usb.received() == b"x", 10, "data to the adapter")
    usb.send(b"y")
    check(receive(client, 1) == b"y", "data from the adapter")
    return client


def carrier(port):
    """Whether the loss of DCD ends a connection."""
    client = through(port)
    usb.set_modem(dcd=False)
    result = ended(client, 3)
    usb.set_modem(dcd=True)
    client.close()
    return result


def break_in(port):
    """What a raw client gets of a break between two letters."""
    client = through(port)
    usb.send(b"a")
    usb.error("break")
    usb.send(b"b")
    got = b""
    while not got.endswith(b"b"):
        got += receive(client, 1)
    client.close()
    return got


def errors_in(port):
    """What a raw client gets of characters with errors."""
    client = through(port)
    for kind in ("parity", "framing", "overrun"):
        usb.error(kind, b"E")
    usb.send(b"b")
    got = b""
    while not got.endswith(b"b"):
        got += receive(client, 1)
    client.close()
    return got


def breaks_out(broker):
    """What the driver does for a telnet BRK, and for breaks by SET-CONTROL; with how long they were."""
    usb.forget()
    client = Telnet(3004)
    client.send(b"x")
    wait_for(lambda: usb.received() == b"x", 10, "data to the adapter")
    usb.forget()
    client.tell(243)
    wait_for(lambda: [name for _, name, _ in usb.changes].count("break") == 2, 10, "a break on and off")
    (begin, _, on), (end, _, off) = [change for change in usb.changes if change[1] == "break"]
    lengths = [end - begin]
    client.close()
    gone(broker)
    client = ComPort(3003)
    ready()
    usb.forget()
    client.order(5, [5])
    wait_for(lambda: usb.lines()["break"], 10, "SET-CONTROL 5 begins a break")
    client.order(5, [6])
    wait_for(lambda: not usb.lines()["break"], 10, "SET-CONTROL 6 ends it")
    client.close()
    print(f"    a telnet BRK lasts {lengths[0]:.2f} s")
    return on, off


def settings():
    """Speeds, sizes, parities, stop bits that a client sets: what is answered and what the adapter does."""
    client = ComPort(3003)
    result = {}
    for baud in (300, 1200, 9600, 14400, 57600, 115200, 230400, 921600, 2_000_000, 3_000_000):
        answer = client.baud(baud)
        wait_for(lambda: abs(usb.lines()["baud"] - baud) <= baud * 0.03, 5, lambda: f"{baud}: {usb.lines()}")
        result[baud] = answer, usb.lines()["baud"]
    for command, values in ((SET_DATASIZE, (7, 8)), (SET_PARITY, (1, 2, 3, 4, 5, 1)), (SET_STOPSIZE, (1, 2, 1))):
        for value in values:
            answer = client.ask(command, [value])
            # the adapter has it when the answer has gone out
            result[command, value, len(result)] = answer, usb.lines()["frame"]
    client.close()
    return result


def controls():
    """Lines that a client sets, and the answers."""
    client = ComPort(3003)
    result = []
    for value in (9, 12, 8, 11, 7, 10):
        answer = client.control(value)
        lines = usb.lines()
        result.append((value, answer, lines["dtr"], lines["rts"]))
    client.close()
    return result


def flow_controls():
    """Flow control that a client sets and asks for, the answers, and what the adapter does."""
    client = ComPort(3003)
    client.baud(9600)
    result = []
    for value in (0, 3, 0, 2, 0, 1, 0, 13):
        answer = client.control(value)
        result.append((value, answer, usb.lines()["flow"]))
    client.close()
    return result


def notices(line):
    """How many seconds it takes at most until a client is told that a line went off or on."""
    client = ComPort(3003)
    client.order(SET_MODEMSTATE_MASK, [255])
    # ser2net does not answer the mask; an answer to what comes behind says that it has been taken
    client.baud(0)
    client.wait(client.states, 5, "the state at first")
    bit = {"cts": 0x10, "dsr": 0x20, "ri": 0x40, "dcd": 0x80}[line]
    times = []
    for on in (False, True):
        before = len(client.states())
        begin = time.monotonic()
        usb.set_modem(**{line: on})
        client.wait(
            lambda: [value for _, value in client.states()[before:] if bool(value & bit) == on],
            5, f"NOTIFY-MODEMSTATE of {line} {on}",
        )  # fmt: skip
        times.append(client.states()[-1][0] - begin)
    client.close()
    return max(times)


def gone(broker):
    wait_for(lambda: not broker.opened(PATH), 10, "the device closed behind the last client")


found = {}
delays = {}
for name, start in (("ser2net", start_ser2net), ("serbroker", start_broker)):
    broker = start(CONFIG)
    print(f"{name}:")
    steps = (
        ("DCD drop ends the connection", lambda: carrier(3001)),
        ("with `local` too", lambda: carrier(3002)),
        ("a break in", lambda: break_in(3002)),
        ("errors in", lambda: errors_in(3002)),
        ("breaks out", lambda: breaks_out(broker)),
        ("settings", settings),
        ("controls", controls),
        ("flow control", flow_controls),
    )
    found[name] = {}
    for what, step in steps:
        found[name][what] = step()
        gone(broker)
        if what != "settings":
            print(f"    {what}: {found[name][what]}")
    delays[name] = notices("cts")
    gone(broker)
    print(f"    CTS changed; the client knows after at most {delays[name]:.2f} s")
    print(f"    {broker.cpu_seconds():.2f} s of processor time")
    broker.stop()

differing = [what for what, value in found["ser2net"].items() if found["serbroker"][what] != value]
for what in differing:
    for name, results in found.items():
        print(f"{what}, {name}: {results[what]}")
check(not differing, f"serbroker does as ser2net does: {', '.join(differing)}")
check(delays["serbroker"] < delays["ser2net"] + 0.2, "and tells of modem lines no later")
