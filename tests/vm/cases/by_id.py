#!/usr/bin/python3
# vm: --deb udev --limit 90
"""Two adapters under their names in /dev/serial/by-id: plugged in again the other way round, each
port still has its own adapter."""

from guest import (
    Ftdi, by_id, check, connect, receive, start_broker, start_udev, until_end, wait_for,
)  # fmt: skip

start_udev()
one, two = Ftdi("SN0001"), Ftdi("SN0002")
broker = start_broker(f"""
connection: &one
  accepter: tcp,127.0.0.1,3001
  connector: serialdev,{by_id("SN0001")},9600n81,local
connection: &two
  accepter: tcp,127.0.0.1,3002
  connector: serialdev,{by_id("SN0002")},9600n81,local
""")


def exchange(port, adapter):
    adapter.forget()
    client = connect(port)
    client.sendall(b"to it")
    wait_for(lambda: adapter.received() == b"to it", 10, lambda: f"data on the wire: {adapter.received()}")
    adapter.send(b"and back")
    check(receive(client, 8) == b"and back", "data from it")
    return client


before = one.path(), two.path()
clients = exchange(3001, one), exchange(3002, two)
one.unplug()
two.unplug()
for client in clients:
    check(until_end(client) == b"", "the connection ends at unplug")
for path in before:
    # an open file keeps the number of its tty
    wait_for(lambda path=path: not broker.opened(path), 10, f"{path} closed")
two.plug()
two.path()
one.plug()
after = one.path(), two.path()
by_id("SN0001"), by_id("SN0002")
print(f"{before} became {after}")
check(after == before[::-1], "the tty names are exchanged")
for client in (exchange(3001, one), exchange(3002, two)):
    client.close()
broker.stop()
