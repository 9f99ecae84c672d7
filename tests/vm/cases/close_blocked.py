#!/usr/bin/python3
# vm: --modem --limit 120
"""A close with output that flow control holds back ends when the drain limits say so.

close(2) of a UART waits up to 30 s for its output; it must be discarded first.
"""

import time

from guest import Ftdi, Serial, check, connect, receive, start_broker, wait_for, wire

usb = Ftdi(serial="C1")
A = "/dev/vm/a"
ports = [
    (A, "serialdev", 0.5),
    (A, "serialdev(char_drain_wait=150)", 1.5),
    (A, "serialdev(drain_time=100,char_drain_wait=off)", 1.0),
    (usb.path(), "serialdev", 0.5),
    (usb.path(), "serialdev(drain_time=100,char_drain_wait=off)", 1.0),
]
text = "".join(f"""
connection: &p{i}
  accepter: tcp,127.0.0.1,{3001 + i}
  connector: {connector},{path},9600n81,local,rtscts
""" for i, (path, connector, _) in enumerate(ports))  # fmt: skip
text += """
connection: &other
  accepter: tcp,127.0.0.1,3010
  connector: serialdev,/dev/vm/c,115200n81,local
"""
broker = start_broker(text)
other, far = connect(3010), Serial("/dev/vm/d", 115200)
other.sendall(b"ready")
check(far.read(5) == b"ready", "the other port")


def hold(cts):
    """Switches CTS of the UART; returns when its driver can see that, which takes QEMU a while."""
    wire("a", cts=cts)
    line = Serial(A)
    wait_for(lambda: line.modem()["cts"] == bool(cts), 5, f"CTS is {cts}")
    line.close()


def fill(number):
    with broker.opening():
        client = connect(number)
    client.sendall(b"z" * 3000)
    return client


hold(False)
usb.set_modem(cts=False)
for i, (path, connector, limit) in enumerate(ports):
    client = fill(3001 + i)
    # the broker has it all: the close of the client is seen behind the data
    begun = time.monotonic()
    client.close()
    slowest = 0.0
    while broker.opened(path):
        asked = time.monotonic()
        check(asked - begun < 20, f"{connector},{path}: not closed within 20 s")
        other.sendall(b"?")
        check(far.read(1) == b"?", "the other port is held up")
        far.write(b"!")
        check(receive(other, 1) == b"!", "the other port is held up")
        slowest = max(slowest, time.monotonic() - asked)
    took = time.monotonic() - begun
    print(f"{connector},{path}: closed after {took:.2f} s, limit {limit} s; slowest answer of another port {slowest * 1000:.0f} ms")
    check(limit * 0.8 < took < limit + 5, f"{took} s")
    check(slowest < 3, "the close holds up another port")

# what is discarded is said, and nothing of it comes out later
check("did not take" in broker.log(), broker.log())
peer = Serial("/dev/vm/b", 9600)
hold(True)
client = connect(3001)
client.sendall(b"new")
found = peer.read(3)
check(found == b"new", f"old output came out: {found}")
client.close()
wait_for(lambda: not broker.opened(A), 10, "the device is closed")

# the end of the program does not wait for it either
hold(False)
client = fill(3001)
took = broker.stop(20)
print(f"SIGTERM with output held back: {took:.2f} s")
check(took < 5, "the end takes too long")
