"""One virtual machine: boots, runs cases one after the other, and is asked what it does if it hangs."""

import ctypes
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

from wires import PORTS, Wires

HERE = os.path.dirname(os.path.abspath(__file__))
# modules that the machine needs before it sees the host's files
EARLY = ("virtio_pci", "virtio_console", "9p", "9pnet_virtio", "overlay")
START = """
export PATH=/run/tools:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8
setsid /usr/bin/python3 {inside} </dev/null >/dev/console 2>&1
echo "the runner of cases ended ($?)" >/dev/console
usleep 200000
poweroff -f
"""


class Failed(Exception):
    """The machine did not do what it was asked; text is its console."""

    def __init__(self, why, text):
        super().__init__(why)
        self.text = text


def archive(entries):
    """A cpio archive in the form that the kernel unpacks as its first root ("newc"): a list of
    (name, mode, content) and, for a device, its numbers."""
    out = bytearray()
    for number, (name, mode, content, *device) in enumerate([*entries, ("TRAILER!!!", 0, b"")]):
        major, minor = device or (0, 0)
        path = name.encode() + b"\0"
        fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, major, minor, len(path), 0)
        out += b"070701" + b"".join(b"%08X" % field for field in fields) + path
        out += bytes(-len(out) % 4) + content
        out += bytes(-len(out) % 4)
    return bytes(out)


def contents(path):
    with open(path, "rb") as file:
        return file.read()


def first_root(parts, packages):
    """The archive with init.sh, busybox and the modules that it loads."""
    folder, executable, plain = 0o40755, 0o100755, 0o100644
    (version,) = os.listdir(f"{parts.kernel()}/lib/modules")
    modules = f"lib/modules/{version}"
    needs = {}
    for line in contents(f"{parts.kernel()}/{modules}/modules.dep").decode().splitlines():
        path, rest = line.split(":")
        needs[path] = rest.split()
    wanted = []
    for path in needs:
        if os.path.basename(path).split(".")[0].replace("-", "_") in EARLY:
            wanted += [path, *needs[path]]
    entries = [(name, folder, b"") for name in ("bin", "dev", "lib", "lib/modules", modules)]
    entries += [
        ("dev/console", 0o20600, b"", 5, 1),
        ("init", executable, contents(f"{HERE}/init.sh")),
        ("bin/busybox", executable, contents(parts.busybox())),
        ("packages", plain, "".join(f"{name}\n" for name in packages).encode()),
    ]
    for name in [*dict.fromkeys(wanted), "modules.dep"]:
        parent = modules
        for step in name.split("/")[:-1]:
            parent += f"/{step}"
            entries.append((parent, folder, b""))
        path = f"{modules}/{name}"
        entries.append((path, plain, contents(f"{parts.kernel()}/{path}")))
    return archive(entries)


def end_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


class Machine:
    """A booted machine. parts: where it comes from; packages: Debian packages that are laid over
    the host's files; cpus: how many the guest has."""

    BOOT = 180  # seconds; a quarter of a minute is usual

    def __init__(self, parts, packages=(), cpus=1):
        for name in packages:
            parts.package(name)
        self.folder = tempfile.mkdtemp(prefix="serbroker-vm-")
        self.pending = b""
        self.process = None
        self.wires = None
        try:
            self.start(parts, packages, cpus)
            if "ready" not in self.hear(time.monotonic() + self.BOOT):
                raise self.failed("the machine spoke out of turn")
        except BaseException:
            self.close()
            raise

    def start(self, parts, packages, cpus):
        share = f"{self.folder}/share"
        os.mkdir(share)
        with open(f"{self.folder}/first_root", "wb") as file:
            file.write(first_root(parts, packages))
        with open(f"{share}/start.sh", "w") as file:
            file.write(START.format(inside=f"{HERE}/inside.py"))
        self.wires = Wires(f"{share}/lines", self.send_break)
        self.wires.start()
        command, environment = parts.qemu()
        cases, self.cases = socket.socketpair()
        monitor, self.monitor = socket.socketpair()
        files = {"host": "/", "parts": parts.folder, "share": share}
        words = (
            "console=ttyS0 quiet loglevel=4 panic=-1 mitigations=off random.trust_cpu=on"
            " 8250.nr_uarts=16 sysrq_always_enabled"
        )
        command += [
            "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
            "-M", "pc", "-accel", "tcg", "-cpu", "max", "-m", "512", "-smp", str(cpus),
            "-kernel", f"{parts.kernel()}/vmlinux", "-initrd", f"{self.folder}/first_root",
            "-append", words,
            "-chardev", f"file,id=console,path={self.folder}/console",
            "-device", "isa-serial,index=0,chardev=console",
            "-chardev", f"socket,id=monitor,fd={monitor.fileno()}",
            "-mon", "chardev=monitor,mode=control",
            "-chardev", f"socket,id=cases,fd={cases.fileno()}",
            "-device", "virtio-serial-pci",
            "-device", "virtserialport,chardev=cases,name=cases",
        ]  # fmt: skip
        for tag, folder in files.items():
            readonly = "" if tag == "share" else ",readonly=on,multidevs=remap"
            command += ["-virtfs", f"local,path={folder},mount_tag={tag},security_model=none{readonly}"]
        card = "pci-serial-4x"
        for number, (port, name) in enumerate(zip(PORTS, self.wires.names), 1):
            command += ["-chardev", f"serial,id={port},path={name}"]
            card += f",chardev{number}={port}"
        command += ["-device", card]
        environment = {
            **os.environ, **environment, "LD_PRELOAD": parts.lines(),
            "VM_LINES": self.wires.environment,
        }  # fmt: skip
        with open(f"{self.folder}/qemu", "wb") as said:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, env=environment,
                pass_fds=[cases.fileno(), monitor.fileno(), self.wires.breaks_in],
                preexec_fn=end_with_parent,
            )  # fmt: skip
        cases.close()
        monitor.close()
        self.monitor.sendall(b'{"execute":"qmp_capabilities"}\n')
        threading.Thread(target=self.discard_answers, daemon=True).start()

    def discard_answers(self):
        try:
            while self.monitor.recv(65536):
                pass
        except OSError:
            pass

    def order(self, command, **arguments):
        """Gives QEMU's monitor a command."""
        line = json.dumps({"execute": command, "arguments": arguments}) + "\n"
        try:
            self.monitor.sendall(line.encode())
        except OSError:
            pass  # it has ended, which whoever waits for an answer sees

    def send_break(self, port):
        self.order("chardev-send-break", id=port)

    def hear(self, deadline):
        """The next message of the runner inside."""
        while b"\n" not in self.pending:
            left = deadline - time.monotonic()
            ready, _, _ = select.select([self.cases], [], [], max(0, left))
            if not ready:
                # SysRq l and w: where the processors are, and the tasks that wait
                for key in ("9", "l", "w"):
                    self.order("human-monitor-command", **{"command-line": f"sendkey alt-sysrq-{key}"})
                    time.sleep(1)
                raise self.failed("the machine does not answer")
            data = self.cases.recv(65536)
            if not data:
                raise self.failed("the machine ended")
            self.pending += data
        line, self.pending = self.pending.split(b"\n", 1)
        return json.loads(line)

    def failed(self, why):
        text = ""
        for name in ("qemu", "console"):
            try:
                with open(f"{self.folder}/{name}", errors="replace") as file:
                    text += file.read()[-8000:]
            except OSError:
                pass
        return Failed(why, text)

    def run(self, case, limit, environment, say):
        """Runs one case; say(text) hears what it prints. Returns (exit status, seconds); the status
        is None if it was ended at its limit."""
        request = {"case": case, "limit": limit, "environment": environment}
        self.cases.sendall(json.dumps(request).encode() + b"\n")
        deadline = time.monotonic() + limit + 30
        while True:
            message = self.hear(deadline)
            if "status" in message:
                return message["status"], message["seconds"]
            say(message["text"])

    def close(self):
        if self.process:
            self.process.kill()
            self.process.wait()
        if self.wires:
            self.wires.close()
        shutil.rmtree(self.folder, ignore_errors=True)
