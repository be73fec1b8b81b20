#!/bin/sh
# Run by the installer behind its own last changes to the new system: its initrd and boot menu, made once.
set -eu

{% include "install/common.sh" %}

[ -e /tmp/nestlab-late ] || exit 10
# The installer warns of a script of this kind that failed, and restarts: 10 brings back its menu instead.
trap '[ "$?" = 0 ] || { tell fail settings "the installation failed" /var/log/syslog; exit 10; }' EXIT

# What packages were kept from running, now that everything it looks at is there.
for program in {{ once | join(" ") }}; do
	rm -f "/target$program"
	chroot /target dpkg-divert --quiet --local --rename --remove "$program"
done
# grub-mkconfig makes entries for it that cannot boot.
rm -f /target/boot/xen-*.efi
in-target sh -c 'update-initramfs -c -k all && update-grub'
{% if efi_copies %}

# Every disk of the array can start the host. These copies are of today: after an update of GRUB they are made again.
copy_efi() { # PARTITION
	mkdir -p /tmp/nestlab-efi
	mount -t vfat "$1" /tmp/nestlab-efi
	cp -r /target/boot/efi/. /tmp/nestlab-efi/
	umount /tmp/nestlab-efi
}
{% for partition in efi_copies %}
copy_efi {{ partition | shell }}
{% endfor %}
{% endif %}
{% for hook in hooks %}

{% if hook.chroot %}
fetch {{ hook.name | shell }} {{ ("/target/root/nestlab-" ~ hook.name) | shell }}
chmod 0700 {{ ("/target/root/nestlab-" ~ hook.name) | shell }}
in-target {{ ("/root/nestlab-" ~ hook.name) | shell }}
rm {{ ("/target/root/nestlab-" ~ hook.name) | shell }}
{% else %}
run {{ hook.name | shell }}
{% endif %}
{% endfor %}

tell end settings 'the host is installed'
