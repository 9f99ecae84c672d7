#!/usr/bin/python3
# vm: --modem --limit 180
"""serbroker attach --cuse: a far port as a serial device of its own, which keeps nothing back.

far broker on /dev/vm/a <-> attach: /dev/ttyV0 (the program); /dev/vm/b is the far device.
"""

import fcntl
import hashlib
import os
import pty
import select
import struct
import subprocess
import termios
import threading
import time
import tty

from guest import MODEM, Serial, check, modprobe, start_broker, start_ser2net, wait_for

TIOCMIWAIT = 0x545C
DEVICE = "/dev/ttyV0"


class Attach:
    def __init__(self, *arguments):
        self.log_file = open("/tmp/attach.log", "wb")
        self.process = subprocess.Popen(
            [os.environ["SERBROKER"], "attach", "-l", "--cuse", *arguments],
            stdin=subprocess.DEVNULL,
            stderr=self.log_file,
        )
        wait_for(lambda: "at the far end" in self.log() or self.process.poll() is not None, 20, "the device")
        check(self.process.poll() is None, self.log())

    def log(self):
        with open("/tmp/attach.log", errors="replace") as log:
            return log.read()

    def stop(self):
        self.process.terminate()
        check(self.process.wait(20) == 0, self.log())
        wait_for(lambda: not os.path.exists(DEVICE), 10, "the device goes")


def settings(far):
    """Speed, size, parity and stop bits that the far driver has."""
    port = Serial(far, None)
    _, _, cflag, _, _, baud = port.settings()
    os.close(port.fd)
    size = {termios.CS5: 5, termios.CS6: 6, termios.CS7: 7, termios.CS8: 8}[cflag & termios.CSIZE]
    parity = "N"
    if cflag & termios.PARENB:
        parity = "O" if cflag & termios.PARODD else "E"
    return baud, size, parity, 2 if cflag & termios.CSTOPB else 1


def data(program, device):
    """Bytes pass both ways."""
    for length in (1, 255, 4000):
        sent = hashlib.sha256(b"%d" % length).digest() * (length // 32 + 1)
        sent = sent[:length]
        program.write(sent)
        got = device.read(length)
        check(got == sent, f"{length} bytes up: {got[:80]!r} for {sent[:80]!r}")
        device.write(sent)
        got = program.read(length)
        check(got == sent, f"{length} bytes down: {got[:80]!r} for {sent[:80]!r}")


def main():
    modprobe("cuse")
    wait_for(lambda: os.path.exists("/dev/cuse"), 10, "/dev/cuse")
    broker = start_broker(
        "%YAML 1.1\n---\n"
        "connection: &far\n  accepter: telnet(rfc2217),tcp,127.0.0.1,4000\n"
        "  connector: serialdev,/dev/vm/a,9600n81,local,hangup-when-done\n"
        "  options:\n    chardelay: false\n"
    )
    attach = Attach("--mode", "660", "--owner", "root:dialout", "rfc2217://127.0.0.1:4000", DEVICE)
    check(os.stat(DEVICE).st_mode & 0o777 == 0o660, "mode")
    device = Serial("/dev/vm/b", 115200)
    device.set(dtr=False, rts=False)
    # the line is used by other cases too, and nobody has opened its other end yet
    left = device.drain()
    if left:
        print(f"left on the line by somebody else: {left!r}")

    begin = time.monotonic()
    program = Serial(DEVICE, 115200)
    print(f"open in {(time.monotonic() - begin) * 1000:.0f} ms")
    check(os.isatty(program.fd), "it is a terminal")
    wait_for(lambda: settings("/dev/vm/a") == (115200, 8, "N", 1), 10, "115200 8N1")
    data(program, device)
    print("data passes")

    # everything that a pseudo-terminal hides
    for baud, frame, wanted in (
        (9600, "7E1", (9600, 7, "E", 1)),
        (9600, "7E1", (9600, 7, "E", 1)),
        (19200, "7O1", (19200, 7, "O", 1)),
        (1200, "5N2", (1200, 5, "N", 2)),
        (38400, "8E1", (38400, 8, "E", 1)),
        (115200, "8N1", (115200, 8, "N", 1)),
    ):
        program.configure(baud, frame)
        wait_for(lambda: settings("/dev/vm/a") == wanted, 10, lambda: f"{wanted}, not {settings('/dev/vm/a')}")
        # tcsetattr(3) of glibc, which looks whether all was carried out
        now = termios.tcgetattr(program.fd)
        termios.tcsetattr(program.fd, termios.TCSANOW, now)
        check(termios.tcgetattr(program.fd) == now, "settings are as they were set")
    print("settings travel")

    # modem lines, one after the other, as development boards are reset
    for lines in (
        {"dtr": False, "rts": False},
        {"dtr": False, "rts": True},
        {"dtr": True, "rts": False},
        {"dtr": False, "rts": False},
        {"dtr": True, "rts": True},
    ):
        program.set(**lines)
        seen = lambda: device.modem()  # noqa: E731
        wait_for(
            lambda: (seen()["dsr"], seen()["cts"]) == (lines["dtr"], lines["rts"]), 10, lambda: f"{lines}: {seen()}"
        )
        check({name: program.modem()[name] for name in lines} == lines, "TIOCMGET has them")
    for lines in ({"dtr": True, "rts": False}, {"dtr": False, "rts": True}, {"dtr": True, "rts": True}):
        before = program.counters()
        device.set(**lines)
        wanted = (lines["dtr"], lines["dtr"], lines["rts"])
        wait_for(
            lambda: tuple(program.modem()[name] for name in ("dsr", "dcd", "cts")) == wanted, 10, lambda: f"{lines}"
        )
        check(program.counters() != before, "TIOCGICOUNT counts")
    changed = []

    def waits():
        fcntl.ioctl(program.fd, TIOCMIWAIT, MODEM["cts"])
        changed.append(time.monotonic())

    waiter = threading.Thread(target=waits, daemon=True)
    waiter.start()
    device.set(dtr=False)
    wait_for(lambda: not program.modem()["dsr"], 10, "DSR falls")
    check(not changed, "TIOCMIWAIT waits for its own line")
    device.set(rts=False)
    waiter.join(10)
    check(changed, "TIOCMIWAIT returns")
    print("modem lines travel both ways")

    # breaks
    before = device.counters()["brk"]
    begin = time.monotonic()
    termios.tcsendbreak(program.fd, 0)
    lasted = time.monotonic() - begin
    check(0.2 < lasted < 2, f"tcsendbreak took {lasted} s")
    wait_for(lambda: device.counters()["brk"] == before + 1, 10, "a break arrives")
    program.send_break(0.1)
    wait_for(lambda: device.counters()["brk"] == before + 2, 10, "a second break arrives")
    device.drain(seconds=0.3)
    print(f"breaks travel; tcsendbreak took {lasted * 1000:.0f} ms")

    # flush: what has come goes, what comes later stays
    device.write(b"old")
    wait_for(lambda: select.select([program.fd], [], [], 0)[0], 10, "input")
    begin = time.monotonic()
    termios.tcflush(program.fd, termios.TCIFLUSH)
    print(f"tcflush took {(time.monotonic() - begin) * 1000:.0f} ms")
    check(program.drain(seconds=0.3) == b"", "nothing is left")
    device.write(b"new")
    check(program.read(3) == b"new", "later bytes come")
    program.write(b"drained")
    termios.tcdrain(program.fd)
    check(device.read(7) == b"drained", "tcdrain")

    # blocking reads with VMIN and VTIME
    os.set_blocking(program.fd, True)
    now = termios.tcgetattr(program.fd)
    now[6][termios.VMIN], now[6][termios.VTIME] = 0, 5
    termios.tcsetattr(program.fd, termios.TCSANOW, now)
    begin = time.monotonic()
    check(os.read(program.fd, 10) == b"", "nothing comes")
    lasted = time.monotonic() - begin
    check(0.4 < lasted < 3, f"VTIME 5 took {lasted} s")
    now[6][termios.VMIN], now[6][termios.VTIME] = 5, 0
    termios.tcsetattr(program.fd, termios.TCSANOW, now)
    writer = threading.Thread(target=lambda: [device.write(b"ab"), time.sleep(0.2), device.write(b"cde")])
    writer.start()
    check(os.read(program.fd, 10) == b"abcde", "VMIN 5")
    writer.join()
    os.set_blocking(program.fd, False)
    print("reads wait as they should")

    # the claim of one program
    fcntl.ioctl(program.fd, termios.TIOCEXCL)
    other = ["setpriv", "--reuid", "1", "--regid", "20", "--clear-groups", "cat", DEVICE]
    opened = subprocess.run(other, capture_output=True)
    check(b"busy" in opened.stderr, opened.stderr)

    # the far end goes and comes back: settings and lines are as they were
    program.configure(19200, "7E1")
    wait_for(lambda: settings("/dev/vm/a") == (19200, 7, "E", 1), 10, "19200 7E1")
    device.configure(19200, "7E1")
    broker.stop()
    program.write(b"later")
    broker.begin()
    check(device.read(5, 20) == b"later", "what was written meanwhile arrives")
    check(settings("/dev/vm/a") == (19200, 7, "E", 1), "settings came back")
    device.write(b"back")
    check(program.read(4) == b"back", "and so does data")
    print("the far end came back")

    # the port is free while nobody has the device open
    pid = broker.pid
    program.close()
    wait_for(lambda: not broker.opened("/dev/vm/a"), 10, "the far device is closed")
    wait_for(lambda: not device.modem()["dsr"], 10, "DTR falls")
    program = Serial(DEVICE, 9600)
    check(broker.opened("/dev/vm/a") and broker.pid == pid, "the far device is open when open(2) returns")
    cpu = lambda: sum(float(x) for x in open(f"/proc/{attach.process.pid}/stat").read().rsplit(")", 1)[1].split()[11:13])  # noqa: E731
    before = cpu()
    time.sleep(2)
    check(cpu() - before <= 2, "idle it takes no processor time")
    program.close()
    attach.stop()
    kept(broker, device)
    broker.stop()
    of_ser2net(device)
    device.close()
    much()
    print("all passed")


def kept(broker, device):
    """With --keep the far port stays open, and DTR and RTS follow the device's being open."""
    attach = Attach("--keep", "rfc2217://127.0.0.1:4000", DEVICE)
    lines = lambda: (device.modem()["dsr"], device.modem()["cts"])  # noqa: E731
    wait_for(lambda: broker.opened("/dev/vm/a"), 10, "the far device is open")
    for _ in range(2):
        program = Serial(DEVICE, 9600)
        wait_for(lambda: lines() == (True, True), 10, lambda: f"both rise: {lines()}")
        program.close()
        wait_for(lambda: lines() == (False, False), 10, lambda: f"both fall: {lines()}")
    check(broker.opened("/dev/vm/a"), "the far device stays open")
    attach.stop()


def of_ser2net(device):
    """The same with the real ser2net at the far end."""
    far = start_ser2net(
        "%YAML 1.1\n---\n"
        "connection: &far\n  accepter: telnet(rfc2217),tcp,127.0.0.1,4002\n"
        "  connector: serialdev,/dev/vm/a,9600n81,local\n"
    )
    attach = Attach("rfc2217://127.0.0.1:4002", DEVICE)
    program = Serial(DEVICE, 19200, "7E1")
    wait_for(lambda: settings("/dev/vm/a") == (19200, 7, "E", 1), 10, lambda: f"7E1: {settings('/dev/vm/a')}")
    device.configure(19200, "7E1")
    for lines in ({"dtr": False, "rts": True}, {"dtr": True, "rts": False}, {"dtr": True, "rts": True}):
        program.set(**lines)
        wait_for(lambda: (device.modem()["dsr"], device.modem()["cts"]) == (lines["dtr"], lines["rts"]), 10, f"{lines}")
    program.write(b"to ser2net")
    check(device.read(10) == b"to ser2net", "data up")
    device.write(b"from ser2net")
    check(program.read(12) == b"from ser2net", "data down")
    breaks = device.counters()["brk"]
    termios.tcsendbreak(program.fd, 0)
    wait_for(lambda: device.counters()["brk"] > breaks, 10, "a break arrives")
    program.close()
    attach.stop()
    far.stop()
    print("ser2net is a far end")


def much():
    """Much data, of all byte values, both ways, through a far device that takes it as fast as it comes."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    broker = start_broker(
        "%YAML 1.1\n---\n"
        "connection: &much\n  accepter: telnet(rfc2217),tcp,127.0.0.1,4001\n"
        f"  connector: serialdev,{os.ttyname(slave)},115200n81,local\n"
        "  options:\n    chardelay: false\n"
    )

    def echo():
        while True:
            piece = os.read(master, 4096)
            while piece:
                piece = piece[os.write(master, piece) :]

    threading.Thread(target=echo, daemon=True).start()
    attach = Attach("rfc2217://127.0.0.1:4001", DEVICE)
    program = Serial(DEVICE, 115200)
    sent = b"".join(hashlib.sha512(b"%d" % number).digest() for number in range(8000))
    writer = threading.Thread(target=lambda: program.write(sent, 60))
    begin = time.monotonic()
    writer.start()
    got = program.read(len(sent), 60)
    writer.join()
    check(got == sent, "all bytes came back")
    print(f"{len(sent)} bytes there and back in {time.monotonic() - begin:.1f} s")
    program.close()
    attach.stop()
    broker.stop()


main()
