#!/usr/bin/python3
"""Runs cases inside the machine, one after the other, as the host asks.

Both speak lines of JSON on a virtual serial port. The host sends {"case": path, "limit": seconds,
"environment": {...}}; the answer is {"ready": true} once, then for each case {"text": ...} as it
prints and {"status": exit status, or null at the limit, "seconds": ...}.
"""

import glob
import json
import os
import select
import shutil
import signal
import subprocess
import termios
import time

SHARED = "/run/vm/lines"


def host_port():
    for folder in glob.glob("/sys/class/virtio-ports/vport*"):
        with open(f"{folder}/name") as name:
            if name.read().strip() == "cases":
                return os.open("/dev/" + os.path.basename(folder), os.O_RDWR)
    raise SystemExit("no port to the host")


def name_ports():
    """/dev/vm/a to d: the four UARTs of the one PCI card, in its order."""
    found = []
    for folder in glob.glob("/sys/class/tty/ttyS*"):
        if "/pci" in os.path.realpath(f"{folder}/device"):
            with open(f"{folder}/type") as kind:
                if kind.read().strip() != "0":
                    found.append(int(folder.rsplit("ttyS")[1]))
    for name, number in zip("abcd", sorted(found)):
        os.symlink(f"../ttyS{number}", f"/dev/vm/{name}")


def reset_ports():
    """As after the boot: each case finds 9600N1, wires as they are, and no pacing."""
    with open(SHARED, "r+b") as shared:
        for port in range(4):
            shared.seek(8 * port)
            shared.write(b"----")
        shared.seek(64)
        shared.write(b"0")
    for name in "abcd":
        fd = os.open(f"/dev/vm/{name}", os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        settings = termios.tcgetattr(fd)
        settings[0] = termios.ICRNL | termios.IXON
        settings[1] = termios.OPOST | termios.ONLCR
        settings[2] = termios.CS8 | termios.CREAD | termios.HUPCL
        settings[4] = settings[5] = termios.B9600
        termios.tcflush(fd, termios.TCIOFLUSH)
        termios.tcsetattr(fd, termios.TCSANOW, settings)
        os.close(fd)


def programs():
    """The processes that are no threads of the kernel."""
    found = set()
    for folder in glob.glob("/proc/[0-9]*"):
        try:
            os.readlink(f"{folder}/exe")
            found.add(int(folder.rsplit("/")[-1]))
        except OSError:
            pass  # the kernel's, or gone
    return found


def clear_up(before):
    """Ends what a case left behind, daemons of its own sessions too, and what udev made."""
    for process in programs() - before:
        try:
            os.kill(process, signal.SIGKILL)
        except ProcessLookupError:
            pass
    for folder in ("/run/udev", "/dev/serial"):
        shutil.rmtree(folder, ignore_errors=True)
    wait_for_adapters_to_go()


def wait_for_adapters_to_go():
    """The kernel takes a moment to let go of the adapters of a case that has ended; the next one may
    give its own the same serial number."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        with open("/sys/devices/platform/vhci_hcd.0/status") as status:
            states = [line.split()[2] for line in status if line.startswith("hs")]
        if all(int(state) == 4 for state in states):
            return
        time.sleep(0.01)


def run_case(request, tell):
    before = programs()
    begin = time.monotonic()
    case = subprocess.Popen(
        ["/usr/bin/python3", request["case"]],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        cwd="/tmp", env={**os.environ, **request["environment"]}, start_new_session=True,
    )  # fmt: skip
    output = case.stdout.fileno()
    os.set_blocking(output, False)
    ended = os.pidfd_open(case.pid)
    late = False
    watched = [output, ended]
    while ended in watched:
        left = begin + request["limit"] - time.monotonic()
        ready, _, _ = select.select(watched, [], [], max(0, left))
        if not ready:
            late = True
        if late or ended in ready:
            watched.remove(ended)
            # what it started goes with it
            try:
                os.killpg(case.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            case.wait()
        # at the end, what is left: a daemon may still hold the other end of the pipe
        while data := read(output):
            tell({"text": data.decode(errors="replace")})
        if output in watched and data == b"":
            watched.remove(output)
    os.close(ended)
    case.stdout.close()
    clear_up(before)
    seconds = round(time.monotonic() - begin, 2)
    tell({"status": None if late else case.returncode, "seconds": seconds})


def read(fd):
    try:
        return os.read(fd, 65536)
    except BlockingIOError:
        return None


def main():
    for module in ("vhci_hcd", "ftdi_sio", "cdc_acm"):
        subprocess.run(["modprobe", module], check=True)
    name_ports()
    port = host_port()

    def tell(message):
        data = json.dumps(message).encode() + b"\n"
        while data:
            data = data[os.write(port, data) :]

    tell({"ready": True})
    pending = b""
    while True:
        pending += os.read(port, 65536)
        while b"\n" in pending:
            line, pending = pending.split(b"\n", 1)
            request = json.loads(line)
            reset_ports()
            run_case(request, tell)


main()
