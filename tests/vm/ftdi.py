"""Simulated USB serial adapters: an FT232R in software, driven by the kernel's own ftdi_sio.

The kernel's vhci_hcd (USB/IP) takes a socket for a plugged device and asks its requests there, in
the form of Documentation/usb/usbip_protocol.rst. What an FT232R answers is in FTDI's AN232B-04/05
and in the comments of drivers/usb/serial/ftdi_sio.h.

The adapter is a process of its own: a case that ends with the tty open stays in close(2) until the
adapter has answered. A case has its stub, Ftdi, and both speak lines of JSON.
"""

import glob
import json
import os
import signal
import socket
import struct
import threading
import time

HUB = "/sys/devices/platform/vhci_hcd.0"
FREE = 4  # of a port in its status file
FULL_SPEED = 2
SUBMIT, UNLINK, SUBMITTED, UNLINKED = 1, 2, 3, 4  # commands of USB/IP
EPIPE, ECONNRESET = -32, -104
HEADER = 48
INPUTS = {"cts": 0x10, "dsr": 0x20, "ri": 0x40, "dcd": 0x80}
ERRORS = {"overrun": 0x02, "parity": 0x04, "framing": 0x08, "break": 0x10}
PACKET, STATUS = 64, 2  # bytes of a packet, and of the status that each begins with
EIGHTHS = (0, 4, 2, 1, 3, 5, 6, 7)  # by the code of the fraction in a divisor

DEVICE = struct.pack("<BBHBBBBHHHBBBB", 18, 1, 0x200, 0, 0, 0, 8, 0x0403, 0x6001, 0x600, 1, 2, 3, 1)
ENDPOINTS = struct.pack("<BBBBHB", 7, 5, 0x81, 2, PACKET, 0) + struct.pack("<BBBBHB", 7, 5, 2, 2, PACKET, 0)
INTERFACE = bytes([9, 4, 0, 0, 2, 255, 255, 255, 2]) + ENDPOINTS
CONFIGURATION = struct.pack("<BBHBBBBB", 9, 2, 9 + len(INTERFACE), 1, 1, 0, 0xA0, 45) + INTERFACE


def ports():
    """The ports of the virtual hub that take full-speed devices, and their states."""
    with open(f"{HUB}/status") as status:
        words = [line.split() for line in status]
    return {int(word[1]): int(word[2]) for word in words if word[0] == "hs"}


def free_port():
    for port, state in ports().items():
        if state == FREE:
            return port
    raise OSError("no free port on the virtual hub")


class Ftdi:
    """One adapter, plugged in when it is made.

    serial: its serial number, which must be its own. Of the inputs CTS, DSR and DCD are on at first
    and RI is off. Times are those of time.monotonic().
    """

    def __init__(self, serial="A1", plug=True):
        self.serial = serial
        self.control, far = socket.socketpair()
        self.answers = self.control.makefile("r")
        self.process = os.fork()
        if self.process == 0:
            Adapter(serial, far).live()
        far.close()
        if plug:
            self.plug()

    def ask(self, what, **arguments):
        self.control.sendall(json.dumps([what, arguments]).encode() + b"\n")
        line = self.answers.readline()
        if not line:
            raise OSError("the simulated adapter has ended")
        answer = json.loads(line)
        if "error" in answer:
            raise OSError(answer["error"])
        return answer["value"]

    def plug(self):
        """Plugs the adapter in; path() waits until the driver has it."""
        self.ask("plug")

    def unplug(self):
        """Pulls the adapter out; returns when the kernel has noticed."""
        if self.ask("unplug"):
            end = time.monotonic() + 30
            while self.tty() or not self.ask("gone"):
                if time.monotonic() > end:
                    raise OSError("the kernel did not let the adapter go within 30 s")
                time.sleep(0.01)

    def tty(self):
        """Its /dev/ttyUSBn, or None while there is none."""
        for tty in glob.glob("/sys/bus/usb-serial/devices/ttyUSB*"):
            try:
                with open(os.path.realpath(tty) + "/../../serial") as serial:
                    if serial.read().strip() == self.serial:
                        path = "/dev/" + os.path.basename(tty)
                        return path if os.path.exists(path) else None
            except OSError:
                pass  # it went while we looked
        return None

    def path(self, seconds=60):
        """Its /dev/ttyUSBn, waited for."""
        end = time.monotonic() + seconds
        while not (found := self.tty()):
            if time.monotonic() > end:
                raise OSError(f"the adapter {self.serial} has no tty after {seconds} s")
            time.sleep(0.02)
        return found

    def lines(self):
        """As the driver last set them: dtr, rts, break (bool), baud, frame ("8N1"), flow ("none",
        "rtscts", "dtrdsr", "xonxoff")."""
        return self.ask("lines")

    @property
    def changes(self):
        """Each change that the driver made to lines(): (time, name, value)."""
        return [tuple(change) for change in self.ask("changed")]

    def set_modem(self, **inputs):
        """Sets inputs: cts, dsr, ri, dcd, each true or false."""
        self.ask("set_modem", **inputs)

    def pulse(self, name):
        """Switches an input over and back, so that the driver is told of both."""
        self.until_told()
        for on in (not self.ask("input", name=name), self.ask("input", name=name)):
            self.set_modem(**{name: on})
            self.until_told()

    def until_told(self, seconds=15):
        """Returns when the driver has been told of the inputs as they are."""
        end = time.monotonic() + seconds
        while not self.ask("is_told"):
            if time.monotonic() > end:
                raise OSError("the driver does not read: nobody has the port open")
            time.sleep(0.001)

    def send(self, data):
        """Bytes arrive on the adapter's wire."""
        self.ask("arrive", data=data.hex(), error=0)

    def error(self, kind, data=None):
        """Bytes arrive with an error: parity, framing, overrun or break (then a 0)."""
        data = data or (b"\0" if kind == "break" else b"A")
        self.ask("arrive", data=data.hex(), error=ERRORS[kind])

    def received(self):
        """All that the driver has sent since the last forget()."""
        return bytes.fromhex(self.ask("received"))

    def forget(self):
        """Clears received() and changes."""
        self.ask("forget")

    def hold(self, held=True):
        """The adapter stops sending, as for flow control, and leaves bytes in the driver; or goes on."""
        self.ask("hold", held=held)

    def remove(self):
        """Ends the adapter for good, as if it was pulled out and thrown away."""
        self.control.close()
        self.answers.close()
        os.waitpid(self.process, 0)


class Adapter:
    """The process of an adapter; control: the socket on which it is told what to do."""

    def __init__(self, serial, control):
        self.serial = serial
        self.control = control
        self.lock = threading.RLock()
        self.wire = None
        self.port = None
        self.reads, self.writes, self.coming, self.told = [], [], [], None
        self.modem = INPUTS["cts"] | INPUTS["dsr"] | INPUTS["dcd"]
        self.held = False
        self.arrived = bytearray()
        self.changes = []
        self.state = {
            "dtr": False, "rts": False, "break": False, "baud": 9600, "frame": "8N1", "flow": "none",
        }  # fmt: skip

    def live(self):
        """Serves its stub until that is gone. Does not return."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        # whatever the case has open is not to stay open for the adapter's sake
        keep = self.control.fileno()
        os.closerange(3, keep)
        os.closerange(keep + 1, 4096)
        try:
            for line in self.control.makefile("r"):
                what, arguments = json.loads(line)
                try:
                    answer = {"value": getattr(self, "do_" + what)(**arguments)}
                except OSError as error:
                    answer = {"error": f"{what}: {error}"}
                self.control.sendall(json.dumps(answer).encode() + b"\n")
        except OSError:
            pass  # the case was killed
        finally:
            os._exit(0)

    # what the stub asks

    def do_plug(self):
        with self.lock:
            if self.wire:
                return
            self.port = free_port()
            self.reads, self.writes, self.coming, self.told = [], [], [], None
            self.wire, far = socket.socketpair()
            with open(f"{HUB}/attach", "w") as attach:
                attach.write(f"{self.port} {far.fileno()} {(1 << 16) | (self.port + 2)} {FULL_SPEED}\n")
            far.close()
        threading.Thread(target=self.serve, args=(self.wire,), daemon=True).start()

    def do_unplug(self):
        with self.lock:
            wire, self.wire = self.wire, None
        if wire:
            wire.shutdown(socket.SHUT_RDWR)
        return bool(wire)

    def do_gone(self):
        return ports().get(self.port) in (FREE, None)

    def do_lines(self):
        with self.lock:
            return self.state

    def do_changed(self):
        with self.lock:
            return self.changes

    def do_input(self, name):
        return bool(self.modem & INPUTS[name])

    def do_set_modem(self, **inputs):
        with self.lock:
            for name, value in inputs.items():
                self.modem = self.modem | INPUTS[name] if value else self.modem & ~INPUTS[name]
            self.go_on()

    def do_is_told(self):
        with self.lock:
            return self.told == self.modem

    def do_arrive(self, data, error):
        with self.lock:
            self.coming.append((bytes.fromhex(data), error))
            self.go_on()

    def do_received(self):
        with self.lock:
            return self.arrived.hex()

    def do_forget(self):
        with self.lock:
            self.arrived.clear()
            self.changes.clear()

    def do_hold(self, held):
        with self.lock:
            self.held = held
            self.go_on()

    # what the kernel asks

    def set(self, name, value):
        if self.state[name] != value:
            self.state[name] = value
            self.changes.append((time.monotonic(), name, value))

    def answer(self, command, number, status, length, data=b""):
        head = struct.pack(">5Iii", command, number, 0, 0, 0, status, length)
        try:
            self.wire.sendall(head.ljust(HEADER, b"\0") + data)
        except (OSError, AttributeError):
            pass  # unplugged

    def serve(self, wire):
        pending = b""
        try:
            while data := wire.recv(1 << 16):
                pending += data
                with self.lock:
                    while len(pending) >= HEADER and wire is self.wire:
                        size = self.one_request(pending)
                        if not size:
                            break
                        pending = pending[size:]
                    self.go_on()
        except OSError:
            pass
        wire.close()

    def one_request(self, text):
        """Handles the request that text begins with; its size, or 0 if there is more to come."""
        command, number, _, inwards, endpoint = struct.unpack_from(">5I", text)
        if command == UNLINK:
            (other,) = struct.unpack_from(">I", text, 20)
            before = len(self.reads) + len(self.writes)
            self.reads = [entry for entry in self.reads if entry[0] != other]
            self.writes = [entry for entry in self.writes if entry[0] != other]
            was_there = before > len(self.reads) + len(self.writes)
            self.answer(UNLINKED, number, ECONNRESET if was_there else 0, 0)
            return HEADER
        assert command == SUBMIT, f"USB/IP command {command}"
        (length,) = struct.unpack_from(">I", text, 24)
        size = HEADER + (0 if inwards else length)
        if len(text) < size:
            return 0
        if endpoint == 0:
            self.setup(number, struct.unpack("<BBHHH", text[40:48]), size - HEADER)
        elif inwards:
            self.reads.append((number, length))
        else:
            self.writes.append((number, text[HEADER:size]))
        return size

    def setup(self, number, packet, written):
        kind, request, value, index, length = packet
        if kind == 0x80:
            reply = self.standard(request, value)
        elif kind == 0xC0:
            empty = 0 if self.writes else 0x60
            reply = {5: bytes([self.modem | 1, empty]), 10: b"\x10"}.get(request, bytes(length))
        else:
            if kind == 0x40:
                self.command(request, value, index)
            self.answer(SUBMITTED, number, 0, written)
            return
        if reply is None:
            self.answer(SUBMITTED, number, EPIPE, 0)
        else:
            self.answer(SUBMITTED, number, 0, len(reply[:length]), reply[:length])

    def standard(self, request, value):
        """Answers a standard request for data, None if it knows none."""
        if request == 6:  # GET_DESCRIPTOR
            kind, number = value >> 8, value & 255
            if kind == 1:
                return DEVICE
            if kind == 2:
                return CONFIGURATION
            if kind == 3 and number <= 3:
                text = (b"\x09\x04", "FTDI", "FT232R USB UART", self.serial)[number]
                data = text.encode("utf-16le") if number else text
                return bytes([2 + len(data), 3]) + data
            return None
        return {0: b"\1\0", 8: b"\1"}.get(request)  # GET_STATUS, GET_CONFIGURATION

    def command(self, request, value, index):
        """A request of FTDI's own that sets something."""
        if request == 1:  # modem control: the upper byte says which the lower one sets
            for bit, name in ((1, "dtr"), (2, "rts")):
                if value >> 8 & bit:
                    self.set(name, bool(value & bit))
        elif request == 2:  # flow control
            self.set("flow", {1: "rtscts", 2: "dtrdsr", 4: "xonxoff"}.get(index >> 8, "none"))
        elif request == 3:  # divisor of 3 MHz, in eighths; 0 and 1 stand for what they cannot express
            fraction = EIGHTHS[value >> 14 | (index & 1) << 2]
            divisor = (value & 0x3FFF) * 8 + fraction
            special = {0: 3_000_000, 8: 2_000_000}
            self.set("baud", special.get(divisor) or round(24_000_000 / divisor))
        elif request == 4:  # frame, and break in bit 14
            stop = ("1", "1.5", "2", "?")[value >> 11 & 3]
            self.set("frame", f"{value & 15}{'NOEMS???'[value >> 8 & 7]}{stop}")
            self.set("break", bool(value >> 14 & 1))

    def stopped(self):
        flow = self.state["flow"]
        return (
            self.held
            or (flow == "rtscts" and not self.modem & INPUTS["cts"])
            or (flow == "dtrdsr" and not self.modem & INPUTS["dsr"])
        )

    def go_on(self):
        """Answers the transfers that can be answered now."""
        while self.wire and self.writes and not self.stopped():
            number, data = self.writes.pop(0)
            self.arrived += data
            self.answer(SUBMITTED, number, 0, len(data))
        while self.wire and self.reads and (self.coming or self.told != self.modem):
            number, length = self.reads.pop(0)
            self.told = self.modem
            packets = b""
            if not self.coming:
                packets = bytes([self.modem | 1, 0x60])
            while self.coming and len(packets) + PACKET <= length and len(packets) % PACKET == 0:
                data, error = self.coming.pop(0)
                packets += bytes([self.modem | 1, 0x60 | error]) + data[: PACKET - STATUS]
                if data[PACKET - STATUS :]:
                    self.coming.insert(0, (data[PACKET - STATUS :], error))
            self.answer(SUBMITTED, number, 0, len(packets), packets)
