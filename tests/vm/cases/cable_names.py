#!/usr/bin/python3
# vm: --deb udev --limit 180
"""The adapter comes back as another ttyUSB: found by its link in /dev/serial/by-id and by `match`;
absent at the start; two that fit are named and refused."""

import glob
import json
import os
import socket
import subprocess
import time

from guest import Ftdi, check, connect, receive, skip, start_broker, until_end, wait_for

PLACES = ("/usr/lib/systemd/systemd-udevd", "/lib/systemd/systemd-udevd")
UDEVD = next((path for path in PLACES if os.path.exists(path)), None)
if not UDEVD:
    skip("no udevd")
os.makedirs("/run/udev", exist_ok=True)
subprocess.Popen([UDEVD, "--daemon"]).wait()

usb = Ftdi(serial="N1", plug=False)
other = Ftdi(serial="N2", plug=False)


def link():
    found = glob.glob("/dev/serial/by-id/*N1*")
    return found[0] if found else None


def readyz():
    with socket.create_connection(("127.0.0.1", 3009), timeout=10) as health:
        health.sendall(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        data = b""
        while piece := health.recv(65536):
            data += piece
    head, body = data.split(b"\r\n\r\n", 1)
    return int(head.split()[1]), {port["name"]: port for port in json.loads(body)["ports"]}


usb.plug()
usb.path()
by_id = wait_for(link, 30, "a link in /dev/serial/by-id")
print(by_id, "->", os.path.realpath(by_id))
usb.unplug()
wait_for(lambda: not link(), 30, "the link is gone")

# nobody is there at the start
broker = start_broker(f"""
metrics: 127.0.0.1:3009
connection: &id
  accepter: tcp,127.0.0.1,3001
  connector: serialdev,{by_id},115200n81,local
  options:
    on-device-loss: hold
connection: &rule
  accepter: tcp,127.0.0.1,3002
  connector: serialdev,match,115200n81,local
  match: {{vid: 0403, pid: 6001, serial: N1}}
  options:
    device-open: always
connection: &either
  accepter: tcp,127.0.0.1,3003
  connector: serialdev,match=vid:0403+pid:6001,115200n81,local
""")
status, ports = wait_for(lambda: readyz() if readyz()[1]["rule"]["reason"] else None, 10, "a reason")
check(status == 503, status)
for name in ("id", "rule", "either"):
    check(ports[name]["reason"] == "missing" and ports[name]["listening"], ports[name])
    print(name, ports[name]["detail"])

# one after the other has the device
usb.plug()
begin = time.monotonic()
first = usb.path()
wait_for(lambda: broker.opened(first), 10, "match: open")
print(f"match: open {1000 * (time.monotonic() - begin):.0f} ms after the tty was there, as {first}")
client = connect(3002)
client.sendall(b"one")
wait_for(lambda: usb.received().endswith(b"one"), 10, "data by match")
wait_for(lambda: readyz()[0] == 200, 30, lambda: f"ready: {readyz()}")

# it comes back under another name, while another adapter has the old one
usb.unplug()
check(until_end(client) == b"", "the end")
other.plug()
check(other.path() == first, f"{other.path()} is {first}")
usb.plug()
begin = time.monotonic()
second = usb.path()
check(second != first, f"{second} is another name than {first}")
wait_for(lambda: broker.opened(second), 10, "match: open under the new name")
print(f"match: open {1000 * (time.monotonic() - begin):.0f} ms after the tty was there, as {second}")
check(not broker.opened(first), "the other adapter is left alone")

# both fit
client = connect(3003)
text = until_end(client)
check(text.startswith(b"Device open failure"), text)
check(f"{first}, {second} fit" in broker.log(), "both are named")
status, ports = readyz()
check(ports["either"]["reason"] == "ambiguous", ports["either"])
other.unplug()

# by its link: held over a change of name
broker.reload(f"""
metrics: 127.0.0.1:3009
connection: &id
  accepter: tcp,127.0.0.1,3001
  connector: serialdev,{by_id},115200n81,local
  options:
    on-device-loss: hold
""")
wait_for(lambda: not broker.opened(second), 10, "the port by match is gone")
wait_for(link, 30, "the link")
usb.forget()
client = connect(3001)
client.sendall(b"two")
wait_for(lambda: usb.received().endswith(b"two"), 10, "data by the link")
takers = []
for _ in range(2):
    before, returns = usb.path(), broker.log().count("its clients go on")
    usb.unplug()
    # the kernel gives the lowest number that is free
    while not takers or takers[-1].path() != before:
        takers.append(Ftdi(serial=f"T{len(takers)}"))
    usb.plug()
    after = usb.path()
    begin = time.monotonic()
    wait_for(lambda: link() and os.path.realpath(link()) == after, 30, "the link")
    linked = time.monotonic()
    wait_for(lambda: broker.opened(after), 10, "open under the new name")
    took = time.monotonic() - linked
    print(
        f"by-id: {before} came back as {after}, the link {1000 * (linked - begin):.0f} ms after the tty, "
        f"open {1000 * took:.0f} ms after the link"
    )
    # a busy host makes the machine slow: the times are for the reader
    check(after != before, f"{before} is taken")
    # what comes before that is dropped, as the port still held its client
    wait_for(lambda: broker.log().count("its clients go on") > returns, 10, "the port serves again")
    client.sendall(b"more")
    wait_for(lambda: usb.received().endswith(b"more"), 10, "data of the held client")
    usb.send(b"down")
    check(receive(client, 4) == b"down", "data to the held client")
check(broker.stop() < 10, "stopped")
