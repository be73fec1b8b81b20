#!/bin/sh
# Makes the disks of guest {{ guest.name }}, and fills the first one by debootstrap: a file system without partitions.
# Run once, in the host, as root.
set -eu
export PATH=/usr/sbin:/usr/bin:/sbin:/bin

{% include "make/disks" %}
disk={{ guest.disks[0].path | shell }}
if blkid -p "$disk" >/dev/null; then
    echo "$disk is filled already"
    exit 0
fi
tree=$(mktemp -d)
whole=
finish() {
    umount -R "$tree" 2>/dev/null || true
    rmdir "$tree"
    [ -n "$whole" ] || wipefs -q -a "$disk"
}
trap finish EXIT
mkfs.ext4 -q "$disk"
mount "$disk" "$tree"
debootstrap --include=linux-image-amd64,openssh-server {{ (made.release or "stable") | shell }} "$tree"{% if mirror %} {{ mirror | shell }}{% endif %}


echo {{ guest.name | shell }} >"$tree/etc/hostname"
printf '/dev/xvda / ext4 errors=remount-ro 0 1\n' >"$tree/etc/fstab"
printf '[Match]\nName=en* eth*\n\n[Network]\nDHCP=yes\n' >"$tree/etc/systemd/network/80-dhcp.network"
chroot "$tree" systemctl enable systemd-networkd.service
chroot "$tree" usermod --password '*' root
{% include "make/keys" %}
{% include "make/linux-boot" %}
whole=yes
