#!/usr/bin/python3
# vm: --limit 120
"""An adapter is pulled out: its descriptor is closed within 100 ms, whether its client reads or not;
clients get the end or, with `on-device-loss: hold`, stay; then it is served again at once.

The machine's processor is slow, and a busy host makes it slower: of each time the best of a few tries
has to be short, and the others are printed."""

import os
import select
import threading
import time

from guest import Ftdi, check, connect, receive, small_socket_buffers, start_broker, until_end, wait_for

usb = Ftdi(serial="L1")
times = {"closed": [], "back": [], "processor": []}


def config(options):
    return f"""
connection: &usb
  accepter: tcp,127.0.0.1,3001
  connector: serialdev,{usb.path()},115200n81,local
  options:
    max-connections: 3
{options}"""


class Watch(threading.Thread):
    """When the kernel hung the tty up, and when the broker had closed it."""

    def __init__(self, broker):
        super().__init__()
        # a descriptor of our own sees the same hang-up; root may open what is open exclusively
        self.own = os.open(usb.path(), os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        self.number = os.fstat(self.own).st_rdev
        self.folder = f"/proc/{broker.pid}/fd"
        self.hangup = self.closed = None
        check(self.is_open(), "the broker has the device open")
        self.start()

    def is_open(self):
        for fd in os.listdir(self.folder):
            try:
                if os.stat(f"{self.folder}/{fd}").st_rdev == self.number:
                    return True
            except OSError:
                pass  # closed meanwhile
        return False

    def run(self):
        poll = select.poll()
        poll.register(self.own, 0)
        if not poll.poll(20000):
            return
        self.hangup = time.monotonic()
        while self.is_open():
            if time.monotonic() > self.hangup + 10:
                return
        self.closed = time.monotonic()

    def result(self):
        self.join()
        os.close(self.own)
        check(self.hangup and self.closed, f"hang-up {self.hangup}, closed {self.closed}")
        return self.closed - self.hangup


def pulled_out(broker, what):
    watch = Watch(broker)
    usb.unplug()
    took = watch.result()
    print(f"{what}: closed {1000 * took:.1f} ms after the hang-up")
    times["closed"].append(took)


def back(broker):
    """Plugs in; how long the port took from when the tty was there."""
    times = broker.log().count("its clients go on")
    usb.plug()
    usb.path()
    begin = time.monotonic()
    wait_for(lambda: broker.log().count("its clients go on") > times, 10, "the port serves again")
    return time.monotonic() - begin


# close, a client that reads
broker = start_broker(config(""))
with broker.opening():
    client = connect(3001)
pulled_out(broker, "close")
check(until_end(client) == b"", "the end, without a text")
client = connect(3001)
text = until_end(client)
check(text.startswith(b"Device open failure: "), text)
usb.plug()
usb.path()
client = connect(3001)
client.sendall(b"back")
wait_for(lambda: usb.received().endswith(b"back"), 10, "data after the adapter came back")
client.close()
broker.stop()

# close, a client that does not read: the device is not read either
with small_socket_buffers():
    usb.forget()
    broker = start_broker(config("    slow-client: backpressure\n"))
    with broker.opening():
        client = connect(3001)
    before = broker.cpu_seconds()
    for _ in range(100):
        usb.send(bytes(1000))
    wait_for(lambda: broker.cpu_seconds() > before, 10, "it has read something")
    pulled_out(broker, "close, nobody reads")
    client.close()
    usb.plug()
    usb.path()
    broker.stop()

# hold
usb.forget()
broker = start_broker(config("    on-device-loss: hold\n"))
with broker.opening():
    clients = [connect(3001), connect(3001), connect(3001)]
for _ in range(3):
    pulled_out(broker, "hold")
    # it looks often at first, and then ever more seldom
    time.sleep(2)
    before = broker.cpu_seconds()
    time.sleep(4)
    times["processor"].append((broker.cpu_seconds() - before) / 4)
    times["back"].append(back(broker))
    usb.forget()
    for client in clients:
        client.sendall(b"up")
    wait_for(lambda: usb.received() == b"upupup", 10, lambda: f"data to the adapter: {usb.received()}")
    usb.send(b"down")
    for client in clients:
        check(receive(client, 4) == b"down", "data from the adapter")
check(broker.stop() < 10, "stopped")
shares = ", ".join(f"{100 * share:.1f} %" for share in times["processor"])
print(f"{shares} of the processor in 4 s without the device")
waits = ", ".join(f"{1000 * took:.0f} ms" for took in times["back"])
print(f"open again {waits} after the tty was there")
check(min(times["closed"]) < 0.1, times)
check(min(times["back"]) < 1, times)
check(min(times["processor"]) < 0.1, times)
