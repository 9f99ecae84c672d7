#!/usr/bin/python3
# vm:
"""Data goes both ways between a TCP client and a 16550 UART, whole and in order."""

import os
import threading

from guest import Serial, check, connect, receive, start_broker, wait_for

broker = start_broker("""
connection: &raw
  accepter: tcp,127.0.0.1,3001
  connector: serialdev,/dev/vm/a,115200n81,local
""")
client = connect(3001)
far = Serial("/dev/vm/b", 115200)
client.sendall(b"hello")
check(far.read(5) == b"hello", "to the device")
far.write(b"world")
check(receive(client, 5) == b"world", "from the device")

data = os.urandom(20_000)
sender = threading.Thread(target=client.sendall, args=(data,))
sender.start()
check(far.read(len(data), 30) == data, "many bytes to the device")
sender.join()
sender = threading.Thread(target=far.write, args=(data, 30))
sender.start()
check(receive(client, len(data), 30) == data, "many bytes from the device")
sender.join()
print(f"{len(data)} bytes each way; {broker.rss_kib()} KiB, {broker.cpu_seconds():.2f} s of processor time")

client.close()
wait_for(lambda: not broker.opened("/dev/vm/a"), 10, "the device is closed after its last client")
check(broker.stop() < 10, "stopped at once")
check(broker.process.returncode == 0, "with status 0")
