# Becomes process 1 of a namespace host. Everything is mounted in this process's own mount namespace: when its last process
# dies, nothing is left. Run as: boot.sh MOUNT_POINT ROOT DATA PRODUCT (see keeper.sh)
set -eu
at=$1 root=$2 data=$3 product=$4

# What the host writes goes to memory; the cached root stays clean.
mount -t tmpfs -o mode=755 host "$at"
mkdir "$at/upper" "$at/work" "$at/host"
host=$at/host
mount -t overlay -o "lowerdir=$root,upperdir=$at/upper,workdir=$at/work" host "$host"
[ -z "$product" ] || cp -a "$product/." "$host/"

mount -t proc -o nosuid,nodev,noexec proc "$host/proc"
mount -t sysfs -o nosuid,nodev,noexec sysfs "$host/sys"
mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 "$host/sys/fs/cgroup"
mount -t tmpfs -o mode=755,nosuid,nodev tmpfs "$host/run"
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs "$host/tmp"

# Its own /dev: a bug in a test must not reach the machine's.
mount -t tmpfs -o mode=755,nosuid dev "$host/dev"
node() { [ ! -e "/dev/$1" ] || mknod -m "$2" "$host/dev/$1" c "$3" "$4"; }
node null 666 1 3; node zero 666 1 5; node full 666 1 7; node random 666 1 8; node urandom 666 1 9; node tty 666 5 0
node fuse 666 10 229; node kvm 666 10 232
mkdir "$host/dev/net" "$host/dev/pts" "$host/dev/shm" "$host/dev/mqueue" "$host/dev/hugepages"
node net/tun 666 10 200
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5,nosuid,noexec devpts "$host/dev/pts"
mount -t tmpfs -o mode=1777,nosuid,nodev shm "$host/dev/shm"
ln -s pts/ptmx "$host/dev/ptmx"
ln -s /proc/self/fd "$host/dev/fd"
for link in 0:stdin 1:stdout 2:stderr; do ln -s "/proc/self/fd/${link%:*}" "$host/dev/${link#*:}"; done

# An overlay's upper directory cannot be on an overlay, so rkt's data directory is a mount of its own.
mkdir -p "$host/var/lib/rkt"
if [ -n "$data" ]; then mount --bind "$data" "$host/var/lib/rkt"; else mount -t tmpfs -o mode=755 rkt "$host/var/lib/rkt"; fi

hostname rkt-test-host
cd "$host"
mkdir -p mnt/old
pivot_root . mnt/old
umount -l /mnt/old
# As on a host: systemd leaves it alone when it believes to be in a container, and credentials come by propagation.
mount --make-rshared /
exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --system --unit=multi-user.target
