#!/bin/busybox sh
# The first program of a vm host: loads what the disks need, lays the product over the root once, and becomes systemd.
export PATH=/bin
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
while read -r module; do insmod "/modules/$module"; done </modules/order
mount -t ext4 /dev/vda /root || exec sh
if [ ! -e /root/etc/rkt-vm-payload ]; then
    mount -t ext4 -o ro /dev/vdb /payload
    cp -a /payload/. /root/
    umount /payload
    touch /root/etc/rkt-vm-payload
fi
for api in dev proc sys; do mount -o move "/$api" "/root/$api"; done
exec switch_root /root /lib/systemd/systemd
