#!/usr/bin/python3
# vm: --limit 120
"""An accepter that opens a serial line (`conacc`) joins two lines; one that is unplugged comes back."""

import urllib.request

from guest import Ftdi, Serial, check, outputs, start_broker, wait_for

usb = Ftdi(serial="F1")
broker = start_broker(f"""
metrics: 127.0.0.1:3009
connection: &two
  accepter: conacc,serialdev,/dev/vm/a,9600n81,local
  connector: serialdev,/dev/vm/c,115200n81,local
  options:
    chardelay: false
connection: &usb
  accepter: conacc(retry-time=200),serialdev,{usb.path()},9600n81,local
  connector: echo
""")
TEXT = b"0123456789abcdef" * 40


def read_so_far():
    """Bytes that the broker has read from the fast line."""
    with urllib.request.urlopen("http://127.0.0.1:3009/metrics") as answer:
        lines = answer.read().decode().splitlines()
    ours = [line for line in lines if line.startswith("serbroker_port_bytes_total{") and 'port="two"' in line]
    return sum(int(float(line.split()[-1])) for line in ours if 'direction="from_device"' in line)


# nobody connects, and both lines are open, each with its own settings
# (the accepter's is the first)
wait_for(lambda: broker.opens() == 1, 20, "both lines open")
check(outputs("a")["dtr"] and outputs("c")["dtr"], "DTR is on at both")
left, right = Serial("/dev/vm/b", 9600), Serial("/dev/vm/d", 115200)
left.write(TEXT)
check(right.read(len(TEXT)) == TEXT, "from the slow line to the fast one")
right.write(TEXT)
check(left.read(len(TEXT), 20) == TEXT, "from the fast line to the slow one")
print(f"{len(TEXT)} bytes each way between 9600 and 115200 baud")

# the adapter is pulled out and put back: it is opened again without anybody asking
path = usb.path()
wait_for(lambda: broker.opened(path), 20, "the adapter open")
usb.unplug()
wait_for(lambda: "port=usb" in broker.log() and "client left" in broker.log(), 20, "its loss noticed")
usb.plug()
back = usb.path()
wait_for(lambda: broker.opened(back), 30, "the adapter open again")
print("an adapter that was unplugged is opened again")

# what has come just before the end is sent to the end, and the lines are closed
right.write(TEXT[:64])
wait_for(lambda: read_so_far() == len(TEXT) + 64, 20, lambda: f"it has come: {read_so_far()}")
broker.stop()
check(left.read(64, 20) == TEXT[:64], "the last bytes arrive")
wait_for(lambda: not outputs("a")["dtr"] and not outputs("c")["dtr"], 10, "the lines are closed")
