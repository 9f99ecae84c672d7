#!/usr/bin/python3
# vm: --deb udev --limit 90
"""`serbroker ports` on real drivers: a UART and two USB adapters, who has them, and which connection
leads to each, by whatever name."""

import json
import os
import subprocess

from guest import Ftdi, Serial, by_id, check, connect, start_broker, start_udev, wait_for

start_udev()
meter, spare = Ftdi("METER01"), Ftdi("SPARE02")
names = by_id("METER01"), by_id("SPARE02")
broker = start_broker(f"""
connection: &meter
  accepter: tcp,127.0.0.1,3001
  connector: serialdev,{names[0]},9600n81,local
connection: &uart
  accepter: tcp,127.0.0.1,3002
  connector: serialdev,/dev/vm/a,9600n81,local
connection: &gone
  accepter: tcp,127.0.0.1,3003
  connector: serialdev,/dev/serial/by-id/usb-Nobody_here,9600n81,local
""")
client = connect(3001)
wait_for(lambda: broker.opened(meter.path()), 10, "the broker has the meter open")
other = Serial(spare.path())


def run(*arguments, **options):
    command = [os.environ["SERBROKER"], "ports", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, **options).stdout


def listed(*arguments, **options):
    found = json.loads(run("--json", *arguments, **options))
    return found, {port["path"]: port for port in found["ports"]}


found, ports = listed("-c", broker.config)
one, two = ports[meter.path()], ports[spare.path()]
check((one["usb"]["vendor_id"], one["usb"]["product_id"]) == ("0403", "6001"), one)
check((one["usb"]["serial"], one["driver"]) == ("METER01", "ftdi_sio"), one)
check(one["by_id"] == [names[0]] and len(one["by_path"]) >= 1, one)
check([user["name"] for user in one["connections"]] == ["meter"], one)
check([user["program"] for user in one["held_by"]] == ["serbroker"], one)
check(two["connections"] == [] and [user["pid"] for user in two["held_by"]] == [os.getpid()], two)
uart = [port for port in found["ports"] if [user["name"] for user in port["connections"]] == ["uart"]]
check(len(uart) == 1 and uart[0]["name"].startswith("ttyS") and uart[0]["driver"] == "serial", uart)
check(uart[0]["held_by"] == [], uart)
check([one["connection"]["name"] for one in found["missing"]] == ["gone"], found["missing"])
# what root sees is more than what others do
check(one["access"]["may_open"] and found["hidden_processes"] == 0, one)
theirs, ports = listed(user=65534, group=65534, extra_groups=[], cwd="/")
check(theirs["hidden_processes"] > 0, theirs["hidden_processes"])
check(not ports[meter.path()]["access"]["may_open"], ports[meter.path()]["access"])
print(run("-c", broker.config))
# an unplugged adapter is no port any more
path = spare.path()
other.close()
spare.unplug()
wait_for(lambda: path not in listed()[1], 10, f"{path} is no longer listed")
client.close()
broker.stop()
