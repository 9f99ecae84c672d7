"""What the virtual machine is made of: Debian's kernel, QEMU, busybox, fetched and unpacked.

Nothing is installed: `apt-get download` fetches packages into a folder and takes no lock there,
`dpkg-deb` unpacks them. Each part has a folder of its own, made under another name and renamed when
it is whole, so that an interrupted run leaves nothing that looks ready.
"""

import glob
import lzma
import os
import platform
import re
import shutil
import subprocess
import urllib.parse

# Of the kernel's modules only these folders are unpacked (120 MB otherwise).
FOLDERS = (
    "drivers/char/virtio_console.ko drivers/tty/* drivers/usb/* drivers/virtio/* fs/9p/*"
    " fs/configfs/* fs/fscache/* fs/fuse/* fs/netfs/* fs/overlayfs/* net/9p/*"
).split()


class Unavailable(Exception):
    """The machine cannot be made here, and why."""


def tell(*command, folder=None, env=None):
    """Runs a command and returns its standard output; Unavailable if it fails."""
    try:
        done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    except OSError as error:
        raise Unavailable(f"{command[0]}: {error.strerror}") from None
    if done.returncode != 0:
        raise Unavailable(f"{' '.join(command[:3])}…: {done.stderr.strip()[-500:]}")
    return done.stdout


def download(folder, *packages):
    tell("apt-get", "download", "-q", "-o", "APT::Sandbox::User=root", *packages, folder=folder)


def merge_usr(root):
    """Moves /bin, /sbin, /lib* under /usr, where a merged-/usr system has them as links."""
    for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
        folder = os.path.join(root, name)
        if os.path.isdir(folder) and not os.path.islink(folder):
            shutil.copytree(folder, f"{root}/usr/{name}", symlinks=True, dirs_exist_ok=True)
            shutil.rmtree(folder)


class Parts:
    """A folder with the parts of the machine, filled on demand.

    update: whether apt's lists may be fetched anew where a package is not to be had with the old.
    """

    def __init__(self, folder, update=True):
        self.folder = os.path.abspath(folder)
        self.update = update
        if platform.machine() != "x86_64":
            raise Unavailable(f"the machine is made for x86-64, not for {platform.machine()}")
        for program in ("/usr/bin/python3", "apt-get", "dpkg-deb", "cc"):
            if not shutil.which(program):
                raise Unavailable(f"there is no {program}")
        os.makedirs(self.folder, exist_ok=True)

    def with_lists(self, action):
        """Runs an action on packages; where apt's lists lack something or are old, fetches them."""
        try:
            return action()
        except Unavailable:
            if not self.update:
                raise
            tell("apt-get", "update", "-q", "-o", "DPkg::Lock::Timeout=120")
            self.update = False
            return action()

    def part(self, name, fill):
        """The folder of a part; fill(new folder) makes it if it is not there."""
        ready = os.path.join(self.folder, name)
        if not os.path.isdir(ready):
            new = f"{ready}.{os.getpid()}"
            shutil.rmtree(new, ignore_errors=True)
            os.makedirs(new)
            try:
                fill(new)
                os.rename(new, ready)
            except OSError as error:
                if not os.path.isdir(ready):
                    raise Unavailable(f"{name}: {error}") from None
            finally:
                shutil.rmtree(new, ignore_errors=True)
        return ready

    def package(self, name):
        """The files of one package, as a folder to lay over a root."""
        return self.part(f"packages/{name}", lambda new: self.fill_package(new, name))

    def fill_package(self, new, name):
        self.with_lists(lambda: download(new, name))
        for file in glob.glob(f"{new}/*.deb"):
            tell("dpkg-deb", "-x", file, new)
            os.unlink(file)
        merge_usr(new)

    def busybox(self):
        return self.package("busybox-static") + "/usr/bin/busybox"

    def kernel(self):
        """A folder with vmlinux and lib/modules/VERSION."""
        return self.part("kernel", self.fill_kernel)

    def fill_kernel(self, new):
        def fetch():
            found = re.search(
                r"Depends: linux-image-(\S+)", tell("apt-cache", "depends", "linux-image-amd64")
            )
            if not found:
                raise Unavailable("apt knows no linux-image-amd64 (is this Debian?)")
            download(new, f"linux-image-{found[1]}")
            return found[1]

        version = self.with_lists(fetch)
        (package,) = glob.glob(f"{new}/*.deb")
        archive = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE)
        wanted = ["./boot/vmlinuz-*", "*/modules.builtin*", "*/modules.order"]
        wanted += [f"*/modules/*/kernel/{folder}" for folder in FOLDERS]
        taken = subprocess.run(
            ["tar", "-x", "-C", new, "--wildcards", *wanted],
            stdin=archive.stdout, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        if archive.wait() or not glob.glob(f"{new}/lib/modules/{version}/kernel"):
            raise Unavailable(f"the kernel's package cannot be unpacked: {taken.stderr[-300:]}")
        with open(f"{new}/boot/vmlinuz-{version}", "rb") as file:
            image = file.read()
        # QEMU starts the ELF file inside at once; the packed one would take the guest seconds
        packed = image.find(b"\xfd7zXZ\0")
        if packed >= 0:
            image = lzma.LZMADecompressor().decompress(image[packed:])
        with open(f"{new}/vmlinux", "wb") as file:
            file.write(image)
        tell(self.busybox(), "depmod", "-b", new, version)
        shutil.rmtree(f"{new}/boot")
        os.unlink(package)

    def qemu(self):
        """The command that starts QEMU and what it needs in the environment."""
        installed = shutil.which("qemu-system-x86_64")
        if installed:
            return [installed], {}
        root = self.part("qemu", self.fill_qemu)
        (libraries,) = glob.glob(f"{root}/usr/lib/*-linux-gnu")
        command = [f"{root}/usr/bin/qemu-system-x86_64"]
        for folder in ("qemu", "seabios"):
            command += ["-L", f"{root}/usr/share/{folder}"]
        return command, {"LD_LIBRARY_PATH": libraries, "QEMU_MODULE_DIR": f"{libraries}/qemu"}

    def fill_qemu(self, new):
        os.mkdir(f"{new}/partial")

        def fetch():
            # the packages that an installation would bring, and no installation
            listed = tell(
                "apt-get", "install", "--print-uris", "-qq", "--no-install-recommends",
                "-o", "Debug::NoLocking=1", "-o", f"Dir::Cache::archives={new}", "qemu-system-x86",
            )  # fmt: skip
            names = [name.split("_") for name in re.findall(r"^'\S+' (\S+\.deb) ", listed, re.M)]
            download(new, *(f"{name[0]}={urllib.parse.unquote(name[1])}" for name in names))

        self.with_lists(fetch)
        for file in glob.glob(f"{new}/*.deb"):
            tell("dpkg-deb", "-x", file, new)
            os.unlink(file)
        merge_usr(new)

    def lines(self):
        """The library that gives QEMU's serial ports modem lines (lines.c)."""
        source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "lines.c")
        library = f"{self.folder}/lines.so"
        if not os.path.exists(library) or os.path.getmtime(library) < os.path.getmtime(source):
            new = f"{library}.{os.getpid()}"
            tell("cc", "-O1", "-Wall", "-shared", "-fPIC", "-o", new, source, "-ldl")
            os.rename(new, library)
        return library
