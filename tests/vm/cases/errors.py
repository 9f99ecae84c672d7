#!/usr/bin/python3
# vm: --limit 60
"""Line errors: NOTIFY-LINESTATE as far as the client's mask asks, and counters in the metrics."""

import re
import time
import urllib.request

from guest import Ftdi, check, start_broker, wait_for
from telnet import NOTIFY_LINESTATE, SET_LINESTATE_MASK, ComPort

STATES = {"overrun": 0x02, "parity": 0x04, "framing": 0x08, "break": 0x10}
LABELS = {"overrun": "overrun", "parity": "parity", "framing": "frame", "break": "break"}

usb = Ftdi(serial="E1")
broker = start_broker(f"""
metrics: 127.0.0.1:3009
connection: &usb
  accepter: telnet(rfc2217),tcp,127.0.0.1,3001
  connector: serialdev,{usb.path()},115200n81,local
  options:
    max-connections: 2
""")


def counted():
    """Errors in the metrics, by kind."""
    with urllib.request.urlopen("http://127.0.0.1:3009/metrics") as answer:
        text = answer.read().decode()
    return {
        kind: int(float(count))
        for kind, count in re.findall(r'^serbroker_port_serial_errors_total\{.*kind="(\w+)".*\} (\S+)$', text, re.M)
    }


client, deaf = ComPort(3001), ComPort(3001)
for one in (client, deaf):
    one.wait(one.states, 10, "the first modem state")
check(client.ask(SET_LINESTATE_MASK, [0xFF]) == b"\xff", "the mask is not taken")
times = []
for kind, state in STATES.items():
    for _ in range(3):
        seen = len(client.states(NOTIFY_LINESTATE))
        begun = time.monotonic()
        usb.error(kind)
        client.wait(lambda: len(client.states(NOTIFY_LINESTATE)) > seen, 5, f"a notice of {kind}")
        at, got = client.states(NOTIFY_LINESTATE)[seen]
        check(got == state, f"{kind}: line state {got:#04x}, not {state:#04x}")
        times.append((at - begun) * 1000)
times.sort()
print(f"{len(times)} notices of line errors after {times[len(times) // 2]:.1f} ms (median), {times[-1]:.1f} (longest)")
check(times[len(times) // 2] < 200, f"late: {times}")
deaf.pump(0.1)
check(not deaf.states(NOTIFY_LINESTATE), "a client that does not want to know is told")
wait_for(lambda: counted() == {**counted(), **{LABELS[kind]: 3 for kind in STATES}}, 5, lambda: counted())

client.ask(SET_LINESTATE_MASK, [STATES["parity"]])
seen = len(client.states(NOTIFY_LINESTATE))
usb.error("framing")
usb.error("parity")
client.wait(lambda: len(client.states(NOTIFY_LINESTATE)) > seen, 5, "a notice of parity")
check([state for _, state in client.states(NOTIFY_LINESTATE)[seen:]] == [0x04], "the mask is not kept")

# a poll without a mask: what nobody was told of yet
client.ask(SET_LINESTATE_MASK, [0])
usb.error("overrun")
client.wait(lambda: client.ask(NOTIFY_LINESTATE, [])[0] == 0x02, 5, "the poll tells of the overrun")
check(client.ask(NOTIFY_LINESTATE, []) == b"\0", "and tells it once")
broker.stop()
