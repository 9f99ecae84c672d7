"""The cables between the serial ports of the machine, on its host.

Each port is a pseudo-terminal that QEMU opens; lines.c gives it modem lines and breaks. Bytes that
come out of one go into the other of its pair: at once, or at the speed and frame that the sender
has set while the guest asks for that (byte PACED of the shared file is '1').
"""

import mmap
import os
import re
import select
import termios
import threading
import time
import tty

PORTS = "abcd"  # a and b are crossed, c and d
SLOT = 8  # bytes of the shared file for each port, see lines.c
PACED = 64
SPEEDS = {
    getattr(termios, name): int(name[1:]) for name in dir(termios) if re.fullmatch(r"B\d+", name)
}


class Wires(threading.Thread):
    """Carries bytes and breaks between the ports until close().

    file: the shared file. send_break(port): tells QEMU that a port receives a break.
    """

    def __init__(self, file, send_break):
        super().__init__(daemon=True)
        self.send_break = send_break
        self.near, self.far, self.names = [], [], []
        for _ in PORTS:
            near, far = os.openpty()
            tty.setraw(far)
            os.set_blocking(near, False)
            self.near.append(near)
            # held open, so that the pseudo-terminal outlives a moment without QEMU
            self.far.append(far)
            self.names.append(os.ttyname(far))
        with open(file, "wb") as shared:
            shared.write(b"----00\0\n" * len(PORTS) + bytes(4096 - SLOT * len(PORTS)))
        with open(file, "r+b") as shared:
            self.shared = mmap.mmap(shared.fileno(), 4096)
        self.breaks, self.breaks_in = os.pipe()
        self.waiting = [bytearray() for _ in PORTS]
        self.due = [0.0 for _ in PORTS]
        self.ended = False
        self.environment = " ".join([file, str(self.breaks_in), *self.names])

    def allowed(self, port, now):
        """How many of the bytes that came out of a port may go on now."""
        size = len(self.waiting[port])
        if self.shared[PACED : PACED + 1] != b"1":
            return size
        settings = termios.tcgetattr(self.near[port])
        flags = settings[2]
        data = {termios.CS5: 5, termios.CS6: 6, termios.CS7: 7}.get(flags & termios.CSIZE, 8)
        bits = 2 + data + bool(flags & termios.PARENB) + bool(flags & termios.CSTOPB)
        rate = SPEEDS.get(settings[5], 115200) / bits
        # time in which nothing came is not saved up for later
        self.due[port] = max(self.due[port], now - 0.02)
        count = min(size, int((now - self.due[port]) * rate))
        self.due[port] += count / rate
        return count

    def run(self):
        port_of = {fd: port for port, fd in enumerate(self.near)}
        while not self.ended:
            paced = any(self.waiting) and self.shared[PACED : PACED + 1] == b"1"
            full = [] if paced else [self.near[i ^ 1] for i, data in enumerate(self.waiting) if data]
            # without an end: QEMU stands still while it cannot write, so it is always read
            readable, _, _ = select.select([*self.near, self.breaks], full, [], 0.005 if paced else 1)
            if self.breaks in readable:
                for port in os.read(self.breaks, 64):
                    self.send_break(PORTS[port ^ 1])
            for fd in readable:
                if fd != self.breaks:
                    try:
                        self.waiting[port_of[fd]] += os.read(fd, 65536)
                    except OSError:
                        pass
            now = time.monotonic()
            for port, data in enumerate(self.waiting):
                if data and (count := self.allowed(port, now)):
                    try:
                        del data[: os.write(self.near[port ^ 1], data[:count])]
                    except BlockingIOError:
                        pass
        for fd in [*self.near, *self.far, self.breaks, self.breaks_in]:
            os.close(fd)

    def close(self):
        self.ended = True
        self.join()
