#!/usr/bin/python3
# vm: --limit 120
"""Flow control that drivers do: RTS/CTS and XON/XOFF hold data in both directions and lose none."""

from guest import (
    Ftdi, Serial, check, connect, outputs, receive, small_socket_buffers, start_broker, wait_for,
)  # fmt: skip

usb = Ftdi(serial="F1")
broker = start_broker(f"""
connection: &rts
  accepter: tcp,127.0.0.1,3001
  connector: serialdev,/dev/vm/a,115200n81,local,rtscts
connection: &xon
  accepter: tcp,127.0.0.1,3002
  connector: serialdev,/dev/vm/c,115200n81,local,xonxoff
connection: &usb
  accepter: tcp,127.0.0.1,3003
  connector: serialdev,{usb.path()},115200n81,local,rtscts
""")
TEXT = b"0123456789abcdef" * 64

# output: the far end drops RTS, which is our CTS
far = Serial("/dev/vm/b", 115200)
client = connect(3001)
client.sendall(b"first")
check(far.read(5) == b"first", "data goes while CTS is on")
far.set(rts=False)
wait_for(lambda: broker.opened("/dev/vm/a"), 5, "the device open")
client.sendall(TEXT)
early = far.drain(seconds=0.5)
check(len(early) <= 16, f"CTS off holds it, at most the chip's FIFO goes: {len(early)} bytes")
far.set(rts=True)
check(early + far.read(len(TEXT) - len(early)) == TEXT, "CTS on lets it go, whole")
print(f"RTS/CTS: {len(early)} bytes after CTS went off, the other {len(TEXT) - len(early)} when it came back")

# input: nobody reads the connection, so RTS has to fall before anything is lost
client.close()
wait_for(lambda: not broker.opened("/dev/vm/a"), 10, "the device closed")
far.configure(115200, rtscts=True)
with small_socket_buffers():
    with broker.opening():
        client = connect(3001)
    sent = 0
    while outputs("a")["rts"]:
        check(sent < 1_000_000, f"RTS is on after {sent} bytes that nobody has read")
        # the wire holds what the 16550 does not take, so not too much at a time
        far.write(TEXT)
        wait_for(lambda: far.waiting() == 0 or not outputs("a")["rts"], 10, "it is on its way")
        sent += len(TEXT)
    print(f"RTS/CTS: RTS went off after {sent} bytes for a client that does not read")
    check(receive(client, sent, 30) == TEXT * (sent // len(TEXT)), "all of it is there, in order")
wait_for(lambda: outputs("a")["rts"], 10, "RTS on again")
check(far.counters()["overrun"] == 0, "nothing overran")
client.close()
far.close()

# XON and XOFF from the far end
far = Serial("/dev/vm/d", 115200)
client = connect(3002)
client.sendall(b"first")
check(far.read(5) == b"first", "data goes before XOFF")
far.write(b"\x13data")
check(receive(client, 4) == b"data", "XOFF itself is not data; what is behind it says that it has acted")
client.sendall(TEXT)
early = far.drain(seconds=0.5)
check(len(early) < len(TEXT), "XOFF holds it")
far.write(b"\x11")
check(early + far.read(len(TEXT) - len(early)) == TEXT, "XON lets it go, whole")
far.write(b"data")
check(receive(client, 4) == b"data", "nor is XON")
print(f"XON/XOFF: {len(early)} bytes after XOFF, the other {len(TEXT) - len(early)} after XON")

# the adapter does it in hardware and has to be told
client = connect(3003)
wait_for(lambda: usb.lines()["flow"] == "rtscts", 10, lambda: f"the adapter is told: {usb.lines()}")
usb.set_modem(cts=False)
client.sendall(TEXT)
usb.set_modem(cts=True)
wait_for(lambda: usb.received() == TEXT, 10, "data after CTS came back")

# a stop with output that nobody takes: close(2) of a 16550 would wait half a minute
far = Serial("/dev/vm/b", 115200)
far.set(rts=False)
client = connect(3001)
client.sendall(TEXT)
check(len(far.drain(seconds=0.3)) <= 16, "CTS off holds it")
took = broker.stop()
print(f"stopped in {took:.2f} s with output held by CTS")
check(took < 10, "the stop does not wait for a line that is held")
