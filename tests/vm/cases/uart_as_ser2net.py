#!/usr/bin/python3
# vm: --limit 240
"""The same steps on a 16550 with the real ser2net and with serbroker: carrier, breaks, speeds and
frames that the chip cannot do."""

from guest import (
    ComPort, Serial, check, connect, gather, outputs, receive, start_broker, start_ser2net, wait_for, wire,
)  # fmt: skip
from telnet import SET_DATASIZE, SET_PARITY, SET_STOPSIZE

CONFIG = """
connection: &carrier
  accepter: tcp,127.0.0.1,3001
  connector: serialdev,/dev/vm/a,9600n81
connection: &local
  accepter: tcp,127.0.0.1,3002
  connector: serialdev,/dev/vm/a,9600n81,local
connection: &rfc2217
  accepter: telnet(rfc2217),tcp,127.0.0.1,3003
  connector: serialdev,/dev/vm/a,9600n81,local
"""


def end_of(client, seconds=3):
    """"end" if the connection ends within that time, else what comes, or "silence"."""
    client.settimeout(seconds)
    try:
        return client.recv(100) or "end"
    except TimeoutError:
        return "silence"
    except ConnectionResetError:
        return "end"


def exchange(client, far):
    """Whether data goes in both directions."""
    client.sendall(b"to it")
    there = far.drain(5, 3)
    far.write(b"back")
    return there, gather(client, 4, 3)


def without_carrier(far):
    """A client of a port that heeds DCD, which is off when it comes, comes on, and goes off again."""
    wire("a", dcd=False)
    client = connect(3001)
    result = [exchange(client, far)]
    wire("a", dcd=True)
    result.append(exchange(client, far))
    wire("a", dcd=False)
    result.append(end_of(client))
    wire("a", dcd=True)
    client.close()
    return result


def heedless(far):
    """The same on a port with `local`."""
    client = connect(3002)
    result = [exchange(client, far)]
    wire("a", dcd=False)
    result.append(end_of(client, 1))
    result.append(exchange(client, far))
    wire("a", dcd=True)
    client.close()
    return result


def wait_for_end():
    wait_for(lambda: not broker.opened("/dev/vm/a"), 40, "the device closed behind the client")


def breaks(far):
    """A break from the line, and one to it."""
    client = connect(3002)
    result = [exchange(client, far)]
    here = Serial("/dev/vm/a", None)
    before = here.counters()["brk"]
    far.send_break(0.1)
    wait_for(lambda: here.counters()["brk"] > before, 10, "the break at this end")
    here.close()
    far.write(b"b")
    came = b""
    while not came.endswith(b"b"):
        came += receive(client, 1)
    client.close()
    wait_for_end()
    client = ComPort(3003)
    before = far.counters()["brk"]
    answer = client.control(5)
    wait_for(lambda: far.counters()["brk"] > before, 10, "the break at the far end")
    client.order(5, [6])
    client.close()
    return [*result, came, answer]


def limits():
    """What is answered to speeds and frames, of which the chip cannot do all, and what is in force."""
    client = ComPort(3003)
    result = []
    for baud in (50, 75, 110, 300, 9600, 14400, 28800, 57600, 115200, 230400, 9600):
        result.append((baud, client.baud(baud)))
    for command, value in (
        (SET_DATASIZE, 5), (SET_STOPSIZE, 2), (SET_STOPSIZE, 1), (SET_DATASIZE, 6), (SET_DATASIZE, 7),
        (SET_PARITY, 2), (SET_PARITY, 3), (SET_PARITY, 4), (SET_PARITY, 5), (SET_PARITY, 1),
        (SET_DATASIZE, 8),
    ):  # fmt: skip
        result.append((command, value, client.ask(command, [value])[0]))
    client.close()
    return result


found = {}
for what, step in (
    ("carrier", without_carrier),
    ("local", heedless),
    ("breaks", breaks),
    ("speeds and frames", lambda far: limits()),
):
    found[what] = {}
    for name, start in (("ser2net", start_ser2net), ("serbroker", start_broker)):
        far = Serial("/dev/vm/b", 9600)
        # as after the boot, whatever the one before left behind
        Serial("/dev/vm/a", 9600, local=False).close()
        broker = start(CONFIG)
        result = step(far)
        wait_for_end()
        # the driver works on for a moment when the file is gone, but not longer than the process
        broker.stop()
        if (what, name) == ("carrier", "serbroker"):
            check("the carrier (DCD) dropped" in broker.log(), "the log says why the connection may have ended")
        far.close()
        found[what][name] = result, outputs("a")
    same = found[what]["ser2net"] == found[what]["serbroker"]
    print(f"{what}: {found[what]['ser2net']}" + ("" if same else f"\n    serbroker: {found[what]['serbroker']}"))

# where serbroker differs on purpose
result, lines = found["carrier"]["ser2net"]
check(lines == {"dtr": True, "rts": True}, "ser2net leaves DTR and RTS on when the carrier is lost")
found["carrier"]["ser2net"] = result, {"dtr": False, "rts": False}
result, lines = found["speeds and frames"]["ser2net"]
check((230400, 230400) in result, "ser2net answers with the speed that was asked for, not with the one set")
result[result.index((230400, 230400))] = 230400, 115200

differing = [what for what, results in found.items() if results["ser2net"] != results["serbroker"]]
check(not differing, f"serbroker does as ser2net does: {', '.join(differing)}")
