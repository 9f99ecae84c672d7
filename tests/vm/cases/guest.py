"""What cases use inside the machine: a broker, clients, serial lines, simulated adapters.

A case is a file that begins with "#!/usr/bin/python3" and "# vm: …" (see the README beside).
It ends with status 0 when what it checked is so, 77 when it could not check it, and says what it
measured. `check` and `wait_for` end it with a message.
"""

import contextlib
import fcntl
import glob
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

from ftdi import Ftdi  # noqa: E402, F401
from telnet import PATIENCE, ComPort, Telnet  # noqa: E402, F401

SHARED = "/run/vm/lines"


def skip(why):
    """Ends the case: what it checks cannot be checked here."""
    print(f"skipped: {why}")
    sys.stdout.flush()
    os._exit(77)


def check(condition, what):
    """Ends the case with a message unless the condition holds."""
    if not condition:
        raise AssertionError(what)


BROKERS = []


def logs_of_brokers():
    """What the brokers said, for the one who reads of a failure."""
    for broker in BROKERS[-2:]:
        print(f"log of {' '.join(broker.command)}:\n{broker.log()}")


def report_failure(kind, error, trace):
    sys.stdout.flush()
    sys.__excepthook__(kind, error, trace)
    sys.stderr.flush()
    logs_of_brokers()


sys.excepthook = report_failure


def wait_for(condition, seconds, what):
    """Calls condition() until it gives something true, and returns that; ends the case after that
    many seconds, saying what was waited for."""
    end = time.monotonic() + PATIENCE * seconds
    while not (value := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what() if callable(what) else what}")
        time.sleep(0.01)
    return value


def connect(port, seconds=10):
    """A TCP connection to a port of the broker (ser2net says Ready a little before it listens)."""

    def attempt():
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=seconds)
        except ConnectionRefusedError:
            return None

    connection = wait_for(attempt, seconds, f"a connection to port {port}")
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def gather(connection, count, seconds=10):
    """At most that many bytes of a socket; fewer when it ends or the time is up."""
    data = b""
    end = time.monotonic() + seconds
    while len(data) < count and select.select([connection], [], [], max(0, end - time.monotonic()))[0]:
        try:
            piece = connection.recv(count - len(data))
        except ConnectionResetError:
            break
        if not piece:
            break
        data += piece
    return data


def receive(connection, count, seconds=10):
    """Exactly that many bytes of a socket; ends the case when they do not come."""
    data = gather(connection, count, PATIENCE * seconds)
    check(len(data) == count, f"only {len(data)} of {count} bytes, or none in {seconds} s: {data[:80]!r}")
    return data


def until_end(connection, seconds=10):
    """All bytes of a socket to its end; ends the case when that does not come."""
    data = b""
    end = time.monotonic() + PATIENCE * seconds
    while True:
        left = end - time.monotonic()
        if left <= 0 or not select.select([connection], [], [], left)[0]:
            raise AssertionError(f"the connection did not end within {seconds} s: {data[:80]!r}")
        try:
            piece = connection.recv(65536)
        except ConnectionResetError:
            return data
        if not piece:
            return data
        data += piece


class Broker:
    """A running broker, or a program with its command line. Ends with the case in any case."""

    def __init__(self, config, program, arguments):
        self.folder = tempfile.mkdtemp(prefix="broker-")
        self.config = f"{self.folder}/config.yaml"
        self.write_config(config)
        self.command = [program, "-n", "-r", "-c", self.config, *arguments]
        BROKERS.append(self)
        self.begin()

    def write_config(self, config):
        with open(self.config, "w") as file:
            file.write(config)

    def begin(self, seconds=20):
        """Starts the process; returns when it has said that its ports listen."""
        with open(f"{self.folder}/out", "wb") as out, open(f"{self.folder}/log", "ab") as log:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=out, stderr=log
            )
        self.pid = self.process.pid

        def ready():
            check(self.process.poll() is None, f"{self.command[0]} ended:\n{self.log()}")
            with open(f"{self.folder}/out") as out:
                return "Ready" in out.read()

        wait_for(ready, seconds, lambda: f"{self.command[0]} is ready; its log:\n{self.log()}")

    def log(self):
        """All that it has logged so far."""
        with open(f"{self.folder}/log", errors="replace") as log:
            return log.read()

    def reload(self, config=None):
        """SIGHUP, with another configuration if one is given."""
        if config is not None:
            self.write_config(config)
        self.process.send_signal(signal.SIGHUP)

    def rss_kib(self, kind="VmRSS"):
        """Resident memory in KiB: all, or only the `RssAnon` or `RssFile` of it."""
        with open(f"/proc/{self.pid}/status") as status:
            for line in status:
                if line.startswith(f"{kind}:"):
                    return int(line.split()[1])
        raise AssertionError(f"no {kind}: it has ended")

    def fds(self):
        """How many descriptors it has open."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def opened(self, path):
        """Whether it has the device open, also when the device has been unplugged meanwhile."""
        path = os.path.realpath(path)
        folder = f"/proc/{self.pid}/fd"
        for fd in os.listdir(folder):
            try:
                if os.readlink(f"{folder}/{fd}").removesuffix(" (deleted)") == path:
                    return True
            except FileNotFoundError:
                pass  # closed meanwhile
        return False

    def opens(self):
        """How often it has opened a device and set it up: `opened` is true before the latter."""
        return self.log().count("INFO device open")

    @contextlib.contextmanager
    def opening(self, why="the device is open"):
        """What is done inside makes it open a device; the end waits until that is set up."""
        before = self.opens()
        yield
        wait_for(lambda: self.opens() > before, 10, why)

    def cpu_seconds(self):
        """Processor time used so far, user and system."""
        with open(f"/proc/{self.pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self, seconds=40):
        """SIGTERM; its exit status. Returns how many seconds that took."""
        begin = time.monotonic()
        self.process.terminate()
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it does not end within {seconds} s; log:\n{self.log()}") from None
        return time.monotonic() - begin


def start_broker(config, arguments=()):
    """serbroker with this configuration; returns when its ports listen."""
    return Broker(config, os.environ["SERBROKER"], arguments)


def start_ser2net(config, arguments=()):
    """The real ser2net, for comparison; skips the case where there is none."""
    for folder in ("/usr/sbin", "/usr/bin", "/usr/local/sbin"):
        if os.access(f"{folder}/ser2net", os.X_OK):
            return Broker(config, f"{folder}/ser2net", arguments)
    return skip("there is no ser2net to compare with")


def start_udev():
    """udev for devices that are plugged in from now on (needs `# vm: --deb udev`); it ends with the
    case."""
    if not os.path.exists("/run/udev/control"):
        program = "/lib/systemd/systemd-udevd"
        check(os.access(program, os.X_OK), f"there is no {program}")
        subprocess.run([program, "--daemon"], check=True, stdout=subprocess.DEVNULL)


def by_id(serial, seconds=30):
    """The link in /dev/serial/by-id of the device with this serial number, waited for."""
    pattern = f"/dev/serial/by-id/*{serial}*"
    return wait_for(lambda: glob.glob(pattern), seconds, f"udev makes {pattern}")[0]


def modprobe(*names):
    """Loads kernel modules; skips the case if there is one that cannot be loaded."""
    for name in names:
        if subprocess.run(["modprobe", *name.split()], capture_output=True).returncode:
            skip(f"the kernel has no module {name}")


@contextlib.contextmanager
def small_socket_buffers():
    """TCP buffers of connections made inside hold little, so that a client that does not read is
    noticed after some ten KiB and not after MiB."""
    paths = [f"/proc/sys/net/ipv4/tcp_{way}mem" for way in "rw"]
    before = [open(path).read() for path in paths]
    try:
        for path in paths:
            with open(path, "w") as file:
                file.write("4096 8192 8192")
        yield
    finally:
        for path, text in zip(paths, before):
            with open(path, "w") as file:
                file.write(text)


class Acm:
    """A CDC-ACM device: this kernel's own USB gadget, plugged into itself by dummy_hcd.

    path(): its /dev/ttyACMn on the host's side; gadget: /dev/ttyGSn, the device's own side.
    """

    ROOT = "/sys/kernel/config/usb_gadget"

    def __init__(self, serial="ACM1"):
        modprobe("dummy_hcd num=4", "libcomposite", "usb_f_acm")
        if not os.path.isdir(self.ROOT):
            subprocess.run(["mount", "-t", "configfs", "none", "/sys/kernel/config"], check=True)
        self.serial = serial
        self.folder = f"{self.ROOT}/{serial}"
        function = f"{self.folder}/functions/acm.{serial}"
        if not os.path.isdir(self.folder):
            os.makedirs(f"{self.folder}/strings/0x409")
            os.makedirs(f"{self.folder}/configs/c.1")
            os.mkdir(function)
            os.symlink(function, f"{self.folder}/configs/c.1/acm")
            for name, value in (("idVendor", "0x0525"), ("idProduct", "0xa4a7"), ("strings/0x409/serialnumber", serial)):
                with open(f"{self.folder}/{name}", "w") as file:
                    file.write(value)
        with open(f"{function}/port_num") as number:
            self.gadget = f"/dev/ttyGS{number.read().strip()}"
        self.plug()

    def controller(self):
        with open(f"{self.folder}/UDC") as used:
            return used.read().strip()

    def plug(self):
        if self.controller():
            return
        taken = set()
        for other in os.listdir(self.ROOT):
            with open(f"{self.ROOT}/{other}/UDC") as used:
                taken.add(used.read().strip())
        free = sorted(set(os.listdir("/sys/class/udc")) - taken)
        check(free, "no free controller for a gadget")
        with open(f"{self.folder}/UDC", "w") as used:
            used.write(free[0])

    def unplug(self):
        """Pulls it out; returns when the kernel has noticed."""
        with open(f"{self.folder}/UDC", "w") as used:
            used.write("\n")
        wait_for(lambda: not self.tty(), 10, "the kernel lets the device go")

    def tty(self):
        """Its /dev/ttyACMn, or None while there is none."""
        for tty in glob.glob("/sys/class/tty/ttyACM*"):
            try:
                with open(os.path.realpath(f"{tty}/device") + "/../serial") as serial:
                    if serial.read().strip() == self.serial:
                        path = "/dev/" + os.path.basename(tty)
                        return path if os.path.exists(path) else None
            except OSError:
                pass  # it went while we looked
        return None

    def path(self, seconds=20):
        """Its /dev/ttyACMn, waited for."""
        return wait_for(self.tty, seconds, f"a tty of {self.serial}")


def wire(port, **inputs):
    """Forces inputs of /dev/vm/PORT (cts, dsr, dcd, ri) on or off, or (None) leaves them as wired."""
    with open(SHARED, "r+b") as shared:
        for name, value in inputs.items():
            shared.seek(8 * "abcd".index(port) + ("cts", "dsr", "dcd", "ri").index(name))
            shared.write({True: b"1", False: b"0", None: b"-"}[value])


def outputs(port):
    """DTR and RTS of /dev/vm/PORT as they are on the wire: {"dtr": bool, "rts": bool}."""
    with open(SHARED, "rb") as shared:
        shared.seek(8 * "abcd".index(port) + 4)
        dtr, rts = shared.read(2)
    return {"dtr": dtr == ord("1"), "rts": rts == ord("1")}


def pace(on=True):
    """Bytes cross between /dev/vm/a and b, c and d at the speed that the sender has set."""
    with open(SHARED, "r+b") as shared:
        shared.seek(64)
        shared.write(b"1" if on else b"0")


TCGETS2, TCSETS2, TIOCGICOUNT = 0x802C542A, 0x402C542B, 0x545D
TIOCSBRK, TIOCCBRK = 0x5427, 0x5428
BOTHER, CMSPAR = 0o10000, 0o10000000000
MODEM = {"dtr": 2, "rts": 4, "cts": 0x20, "dcd": 0x40, "ri": 0x80, "dsr": 0x100}
COUNTERS = "cts dsr ri dcd rx tx frame overrun parity brk buf_overrun".split()


class Serial:
    """A serial device that the case has open itself, raw: usually the far end of a cable.

    frame: data bits, parity (N, O, E, M, S), stop bits. rtscts: hardware flow control. local:
    without heed of DCD. DTR and RTS go on with the open, as the kernel does it. baud None: only
    looks at the device, as it is.
    """

    def __init__(self, path, baud=9600, frame="8N1", rtscts=False, local=True):
        self.fd = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        self.local = local
        if baud:
            self.configure(baud, frame, rtscts)

    def configure(self, baud, frame="8N1", rtscts=False, iflag=0):
        size = {"5": termios.CS5, "6": termios.CS6, "7": termios.CS7, "8": termios.CS8}[frame[0]]
        parity = {
            "N": 0, "E": termios.PARENB, "O": termios.PARENB | termios.PARODD,
            "M": termios.PARENB | termios.PARODD | CMSPAR, "S": termios.PARENB | CMSPAR,
        }[frame[1]]  # fmt: skip
        flags = BOTHER | size | parity | termios.CREAD | termios.HUPCL
        flags |= termios.CSTOPB if frame[2:] == "2" else 0
        flags |= termios.CLOCAL if self.local else 0
        flags |= termios.CRTSCTS if rtscts else 0
        settings = bytearray(fcntl.ioctl(self.fd, TCGETS2, bytes(44)))
        struct.pack_into("IIII", settings, 0, iflag, 0, flags, 0)
        settings[17 + termios.VMIN], settings[17 + termios.VTIME] = 1, 0
        struct.pack_into("II", settings, 36, baud, baud)
        fcntl.ioctl(self.fd, TCSETS2, bytes(settings))

    def settings(self):
        """(iflag, oflag, cflag, lflag, input baud, output baud) as the driver has them."""
        settings = fcntl.ioctl(self.fd, TCGETS2, bytes(44))
        return struct.unpack_from("IIII", settings) + struct.unpack_from("II", settings, 36)

    def modem(self):
        """The six lines: {"dtr": bool, …}."""
        bits = struct.unpack("i", fcntl.ioctl(self.fd, termios.TIOCMGET, bytes(4)))[0]
        return {name: bool(bits & bit) for name, bit in MODEM.items()}

    def set(self, **lines):
        """Sets dtr and rts."""
        for name, value in lines.items():
            request = termios.TIOCMBIS if value else termios.TIOCMBIC
            fcntl.ioctl(self.fd, request, struct.pack("i", MODEM[name]))

    def counters(self):
        """TIOCGICOUNT: cts dsr ri dcd rx tx frame overrun parity brk buf_overrun."""
        values = struct.unpack("20i", fcntl.ioctl(self.fd, TIOCGICOUNT, bytes(80)))
        return dict(zip(COUNTERS, values))

    def waiting(self):
        """How many bytes that were written here have not left yet."""
        return struct.unpack("i", fcntl.ioctl(self.fd, termios.TIOCOUTQ, bytes(4)))[0]

    def send_break(self, seconds=0.25):
        fcntl.ioctl(self.fd, TIOCSBRK)
        time.sleep(seconds)
        fcntl.ioctl(self.fd, TIOCCBRK)

    def write(self, data, seconds=10):
        end = time.monotonic() + PATIENCE * seconds
        while data:
            if not select.select([], [self.fd], [], max(0, end - time.monotonic()))[1]:
                raise AssertionError(f"{len(data)} bytes cannot be written within {seconds} s")
            try:
                data = data[os.write(self.fd, data) :]
            except BlockingIOError:
                pass

    def read(self, count, seconds=10):
        """Exactly that many bytes; ends the case when they do not come."""
        data = self.drain(count, PATIENCE * seconds)
        check(len(data) == count, f"only {len(data)} of {count} bytes in {seconds} s: {data[:80]!r}")
        return data

    def drain(self, count=1 << 20, seconds=0.3):
        """What comes within that time, at most count bytes."""
        data = b""
        end = time.monotonic() + seconds
        while len(data) < count:
            if not select.select([self.fd], [], [], max(0, end - time.monotonic()))[0]:
                break
            try:
                piece = os.read(self.fd, count - len(data))
            except BlockingIOError:
                continue
            if not piece:
                break
            data += piece
        return data

    def close(self):
        """Closes it, without the wait for output that nobody takes."""
        try:
            termios.tcflush(self.fd, termios.TCOFLUSH)
        except termios.error:
            pass  # unplugged
        os.close(self.fd)
