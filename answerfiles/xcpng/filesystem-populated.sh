#!/bin/bash
# Run by the installer when the files of the host are in place, before they are unmounted: $1 is their folder. What it
# returns is logged and passed over, so that a failure is told on the console.
set -eu
root=$1
cat > /tmp/nestlab-tell <<'NESTLAB'
{% include "tell.sh" %}
NESTLAB
trap 'sh /tmp/nestlab-tell fail files "the host script failed at line $LINENO" /tmp/install-log' ERR
sh /tmp/nestlab-tell end files 'the files are in place' || :

# Files of this host alone, keys above all, come on a small volume beside the medium.
volume=$(blkid -L {{ volume }} || true)
if [ -n "$volume" ]; then
    mkdir -p /tmp/nestlab-volume
    mount -o ro "$volume" /tmp/nestlab-volume
    if [ -d /tmp/nestlab-volume/seed ]; then
        cp -a /tmp/nestlab-volume/seed/. "$root"/
    fi
    umount /tmp/nestlab-volume
fi
install -d -m 0700 "$root/root/.ssh"
{% for key in root_keys %}
echo {{ key | shell }} >> "$root/root/.ssh/authorized_keys"
{% endfor %}
chown -R 0:0 "$root/root/.ssh"
if [ -e "$root/root/.ssh/authorized_keys" ]; then
    chmod 0600 "$root/root/.ssh/authorized_keys"
fi

# The boot loader is configured by now; this changes its files for BIOS and for UEFI.
{% for argument in hypervisor %}
chroot "$root" /opt/xensource/libexec/xen-cmdline --set-xen {{ argument | shell }}
{% endfor %}
{% for argument in kernel %}
chroot "$root" /opt/xensource/libexec/xen-cmdline --set-dom0 {{ argument | shell }}
{% endfor %}
