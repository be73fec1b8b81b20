#!/bin/sh
# Makes the disks of guest {{ guest.name }}, and has xen-tools fill the first one. Run once, in the host, as root. The
# domain that xen-tools writes stays beside this script: the host has one already.
set -eu
export PATH=/usr/sbin:/usr/bin:/sbin:/bin

{% include "make/disks" %}
disk={{ guest.disks[0].path | shell }}
if blkid -p "$disk" >/dev/null; then
    echo "$disk is filled already"
    exit 0
fi
tree=$(mktemp -d)
device=$disk
whole=
finish() {
    umount "$tree" 2>/dev/null || true
    rmdir "$tree"
    [ "$device" = "$disk" ] || losetup -d "$device"
    [ -n "$whole" ] || wipefs -q -a "$disk"
}
trap finish EXIT
if [ -f "$disk" ]; then
    device=$(losetup --find --show "$disk")
fi
xen-create-image --hostname={{ guest.name | shell }} --image-dev="$device" --noswap --fs=ext4 --dhcp \
    --memory={{ guest.memory // 1048576 }}M --vcpus={{ guest.vcpus }} --nohosts --genpass=0 --nopasswd --noboot \
    --dist={{ (made.release or "stable") | shell }}{% if mirror %} --mirror={{ mirror | shell }}{% endif %} \
    --output={{ scripts | shell }} --extension=.xen-tools

mount "$device" "$tree"
chroot "$tree" usermod --password '*' root
{% include "make/keys" %}
{% include "make/linux-boot" %}
whole=yes
