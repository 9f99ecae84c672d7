#!/bin/busybox sh
# The first program of the machine: puts the host's files, read-only, under a layer in memory, makes
# that the root, and starts the runner of cases there.
/bin/busybox mkdir -p /bin /dev /proc /sys /host /parts /layer /root
/bin/busybox --install -s /bin
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
fail() {
    echo "init: $*" >/dev/console
    # the console is slower than the end of the machine
    usleep 200000
    poweroff -f
}
for module in virtio_pci virtio_console 9p 9pnet_virtio overlay; do
    modprobe $module || fail "modprobe $module"
done

share() { # TAG FOLDER OPTIONS
    mount -t 9p -o trans=virtio,version=9p2000.L,msize=524288,"$3" "$1" "$2" || fail "mount $1"
}
share host /host ro,cache=loose,access=any
share parts /parts ro,cache=loose
mount -t tmpfs -o mode=755 layer /layer
mkdir /layer/files /layer/work
lower=/host
while read -r package; do
    lower=/parts/packages/$package:$lower
done </packages
mount -t overlay -o "lowerdir=$lower,upperdir=/layer/files,workdir=/layer/work,xino=off" root /root ||
    fail "mount overlay"

cd /root || fail root
mount --move /dev dev
mount --move /sys sys
mount -t proc proc proc
mkdir -p dev/pts dev/shm dev/vm
mount -t devpts -o mode=620,ptmxmode=666,gid=5 pts dev/pts
mount -t tmpfs shm dev/shm
mount -t tmpfs -o mode=755 run run
mkdir -p run/lock run/vm run/tools
share share run/vm cache=none,access=any
modules=lib/modules/$(uname -r)
mkdir -p "$modules"
mount --bind "/parts/kernel/$modules" "$modules"
cp /bin/busybox run/tools/busybox
for tool in insmod ip lsmod modprobe poweroff rmmod; do
    ln -s busybox run/tools/$tool
done
ip link set lo up
# without an address beyond 127.0.0.1 the resolver takes the machine for one that has no IPv4
ip addr add 192.0.2.1/32 dev lo
exec switch_root /root /run/tools/busybox sh /run/vm/start.sh || fail switch_root
