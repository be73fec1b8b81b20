#!/bin/bash
# Run by the installer when the files of the host are in place, before they are unmounted: $1 is their folder. What it
# returns is logged and passed over, so that a failure is told on the console.
set -eu
root=$1
trap 'echo "nestlab: the host script failed at line $LINENO" > /dev/console' ERR
echo 'nestlab: the files are in place' > /dev/console

# Files of this host alone, keys above all, come on a small volume beside the medium.
volume=$(blkid -L NESTLAB || true)
if [ -n "$volume" ]; then
    mkdir -p /tmp/nestlab-volume
    mount -o ro "$volume" /tmp/nestlab-volume
    if [ -d /tmp/nestlab-volume/seed ]; then
        cp -a /tmp/nestlab-volume/seed/. "$root"/
    fi
    umount /tmp/nestlab-volume
fi
install -d -m 0700 "$root/root/.ssh"
chown -R 0:0 "$root/root/.ssh"
if [ -e "$root/root/.ssh/authorized_keys" ]; then
    chmod 0600 "$root/root/.ssh/authorized_keys"
fi

# The boot loader is configured by now; this changes its files for BIOS and for UEFI.
chroot "$root" /opt/xensource/libexec/xen-cmdline --set-xen dom0_mem=4096M,max:4096M
chroot "$root" /opt/xensource/libexec/xen-cmdline --set-xen dom0_max_vcpus=2
