#!/usr/bin/python3
# vm: --limit 150
"""Locks: TIOCEXCL and flock(2) against programs of users, UUCP lock files against those that look at them."""

import errno
import os
import stat
import subprocess

from guest import Broker, check, connect, start_broker, start_ser2net, until_end, wait_for

A = "/dev/vm/a"
NODE = os.path.realpath(A)
NOBODY, GROUP = 65534, 20
CONFIG = f"""
connection: &p
  accepter: tcp,127.0.0.1,3001
  connector: serialdev,{NODE},9600n81,local
"""
LOCK = f"/var/lock/LCK..{os.path.basename(NODE)}"
os.makedirs("/var/lock", exist_ok=True)
os.chown(NODE, 0, GROUP)
os.chmod(NODE, 0o660)


def as_user(*words):
    return ["setpriv", "--reuid", str(NOBODY), "--regid", str(GROUP), "--clear-groups", *words]


def opens(user):
    """Whether a program can open the device, and lock it: (errno of open, errno of flock)."""
    program = (
        "import os, fcntl, sys\n"
        "try: fd = os.open(sys.argv[1], os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)\n"
        "except OSError as e: print(e.errno, -1); sys.exit()\n"
        "try: fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB); print(0, 0)\n"
        "except OSError as e: print(0, e.errno)\n"
    )
    command = ["/usr/bin/python3", "-c", program, NODE]
    run = subprocess.run(as_user(*command) if user else command, capture_output=True, text=True, check=True)
    return tuple(int(word) for word in run.stdout.split())


class Holder:
    """Another program that has the device, in one of the ways that programs have."""

    def __init__(self, way):
        program = (
            "import os, fcntl, sys, termios\n"
            "fd = os.open(sys.argv[1], os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)\n"
            f"{way}\n"
            "print('ready', flush=True)\n"
            "sys.stdin.read()\n"
        )
        self.process = subprocess.Popen(
            ["/usr/bin/python3", "-c", program, NODE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        check(self.process.stdout.readline() == "ready\n", "the holder has the device")

    def end(self):
        self.process.communicate()


def refused(port=3001):
    """Connects and returns what the client is told."""
    return until_end(connect(port)).decode()


def closed(broker):
    wait_for(lambda: not broker.opened(NODE), 10, "the device is closed")


class Open(Broker):
    """A broker whose files a user can read."""

    def write_config(self, config):
        os.chmod(self.folder, 0o755)
        super().write_config(config)


# ours keeps others out
for user in (False, True):
    if user:
        wrapper = "/tmp/as-user"
        with open(wrapper, "w") as file:
            file.write("#!/bin/sh\nexec " + " ".join(as_user(os.environ["SERBROKER"])) + ' "$@"\n')
        os.chmod(wrapper, 0o755)
        broker = Open(CONFIG, wrapper, ())
    else:
        broker = start_broker(CONFIG)
    with broker.opening():
        client = connect(3001)
    found = opens(True)
    check(found == (errno.EBUSY, -1), f"a user can open it: {found}")
    found = opens(False)
    check(found == (0, errno.EWOULDBLOCK), f"root can open it, as ever, but not lock it: {found}")
    client.close()
    closed(broker)
    check(opens(True) == (0, 0), f"it is free after the close: {opens(True)}")

    # others keep ours out, and are named
    for way, sees in (
        ("fcntl.flock(fd, fcntl.LOCK_EX)", (False, True)),
        ("fcntl.ioctl(fd, termios.TIOCEXCL)", (True,)),
    ):
        if user not in sees:
            continue
        holder = Holder(way)
        text = refused()
        check("already in use" in text, f"{way}: the client is told {text!r}")
        # /proc/locks names who has a lock; whose files are not for users to see is not named
        known = not user or "flock" in way
        named = f"process {holder.process.pid} (python3)" if known else "another process"
        wait_for(lambda: f"in use by {named}" in broker.log(), 5, broker.log)
        holder.end()
        with broker.opening("the device is open once the other is gone"):
            client = connect(3001)
        client.close()
        closed(broker)
    said = [line for line in broker.log().splitlines() if "in use" in line][-1]
    print(f"as {'user' if user else 'root'}: kept out and keeps out; {said}")
    broker.stop()

# UUCP lock files
broker = start_broker(CONFIG)
with broker.opening():
    client = connect(3001)
with open(LOCK) as file:
    check(file.read() == f"{broker.pid:10}\n", "the lock file names the broker")
check(stat.S_IMODE(os.stat(LOCK).st_mode) == 0o644, "anybody can read the lock file")
client.close()
closed(broker)
wait_for(lambda: not os.path.exists(LOCK), 5, "the lock file is removed")

child = subprocess.Popen(["sleep", "1000"])
with open(LOCK, "w") as file:
    file.write(f"{child.pid:10}\n")
text = refused()
check("already in use" in text, f"the client is told {text!r}")
wait_for(lambda: f"in use by process {child.pid} (sleep)" in broker.log(), 5, broker.log)
check(os.path.exists(LOCK), "a lock of the living is not ours to remove")
child.kill()
child.wait()
with broker.opening("a stale lock file is no obstacle"):
    client = connect(3001)
with open(LOCK) as file:
    check(int(file.read()) == broker.pid, "it is replaced")

# real ser2net sees ours, and ours sees that of ser2net
other = start_ser2net(CONFIG.replace("3001", "3002"))
text = refused(3002)
check("Device open failure" in text, f"ser2net tells its client {text!r}")
client.close()
closed(broker)
client = connect(3002)
wait_for(lambda: other.opened(NODE), 10, "ser2net has the device")
text = refused()
check("already in use" in text, f"the client is told {text!r}")
wait_for(lambda: f"in use by process {other.pid} (ser2net)" in broker.log(), 5, broker.log)
client.close()
closed(other)
other.stop()

# a directory that cannot be written is one lock less, no more
subprocess.run(["mount", "--bind", "/var/lock", "/var/lock"], check=True)
subprocess.run(["mount", "-o", "remount,bind,ro", "/var/lock"], check=True)
with broker.opening("the device opens without a lock file"):
    client = connect(3001)
check(not os.path.exists(LOCK), "no lock file was made")
check(opens(True) == (errno.EBUSY, -1), "the other locks hold")
client.close()
closed(broker)
subprocess.run(["umount", "/var/lock"], check=True)
print("lock files: made, removed, stale ones replaced, living ones and ser2net's honoured, read-only directory passed over")
broker.stop()
