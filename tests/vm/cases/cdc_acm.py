#!/usr/bin/python3
# vm: --limit 90
"""CDC-ACM devices (modems, many boards) open without complaint; data, speed, breaks, lines, unplug."""

import os

from guest import Acm, ComPort, Serial, check, connect, receive, start_broker, until_end, wait_for

device = Acm("ACM1")
path = device.path()
broker = start_broker(f"""
connection: &raw
  accepter: tcp,127.0.0.1,3001
  connector: serialdev,{path},115200n81,local
connection: &rfc2217
  accepter: telnet(rfc2217),tcp,127.0.0.1,3002
  connector: serialdev,{path},115200n81,local
""")
gadget = Serial(device.gadget)
client = connect(3001)
data = os.urandom(5000)
client.sendall(data)
check(gadget.read(len(data)) == data, "data to the device")
gadget.write(data)
check(receive(client, len(data)) == data, "data from the device")
log = broker.log()
check("WARN" not in log and "ERROR" not in log, f"opened without complaint:\n{log}")
client.close()
wait_for(lambda: not broker.opened(path), 10, "closed with its client")

client = ComPort(3002)
check(client.baud(0) == 115200, "the speed as configured")
for baud in (9600, 230400, 1_000_000, 12345):
    check(client.baud(baud) == baud, f"speed {baud}")
# this gadget says that it has no breaks, so the driver refuses them
check(client.control(5) == 6, "the client is told that there is no break")
check(client.control(6) == 6, "nor now")
check("refuses a break" in broker.log(), "and the log why")
check(client.control(9) == 9 and client.control(8) == 8, "DTR off and on")
client.send(b"\xff\x00data")
check(gadget.read(6) == b"\xff\x00data", "data with a telnet byte in it")
gadget.write(b"\xffback")
check(client.read(5) == b"\xffback", "and back")

device.unplug()
client.wait(lambda: client.ended, 10, "the connection ends at unplug")
text = until_end(connect(3001)).decode()
print(f"while unplugged: {text.strip()}")
check(text.startswith("Device open failure"), "the client is told")
check(f"{path}: cannot open the device: no such device" in broker.log(), "and the log which it is")
gadget.close()
device.plug()
check(device.path() == path, "it comes back under its name")
gadget = Serial(device.gadget)
client = connect(3001)
client.sendall(b"again")
check(gadget.read(5) == b"again", "data after replug")
check(broker.stop() < 10, "stopped at once")
