#!/usr/bin/python3
# vm:
"""Where the driver cannot do RS-485, the port is refused and the log says why; ports beside it work."""

from guest import Serial, check, connect, start_broker, until_end

broker = start_broker("""
connection: &bus
  accepter: tcp,127.0.0.1,3001
  connector: serialdev,/dev/vm/a,9600n81,local,rs485=0:0:rts_on_send
connection: &plain
  accepter: tcp,127.0.0.1,3002
  connector: serialdev,/dev/vm/b,9600n81,local
""")
text = until_end(connect(3001)).decode()
print(f"client: {text.strip()}")
check(text.startswith("Device open failure"), f"the client is told: {text!r}")
(line,) = [line for line in broker.log().splitlines() if "RS-485" in line]
print(f"log: {line.split('WARN', 1)[-1].strip()}")
check("/dev/vm/a" in line and "port=bus" in line, "the log says which device and which port")
check(not broker.opened("/dev/vm/a"), "the device is closed again")
far = Serial("/dev/vm/a")
connect(3002).sendall(b"hello")
check(far.read(5) == b"hello", "another port works, and the line is as it was")
broker.stop()
check(broker.process.returncode == 0, "a clean end")
