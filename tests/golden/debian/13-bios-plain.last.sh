#!/bin/sh
# Run by the installer behind its own last changes to the new system: its initrd and boot menu, made once.
set -eu

# Where the answers are, and marks by which an installation is followed.
base=/nestlab

fetch() { # FILE TARGET
	case "$base" in
	*://*) fetch-url "$base/$1" "$2" ;;
	*) cp "$base/$1" "$2" ;;
	esac
}

tell() { # begin|end|fail PHASE MARK [LOG]
	sh /tmp/nestlab-tell "$@" || printf '\n%s\n' "nestlab: $3" >/dev/console
}

run() { # FILE: one of the user's scripts, in the installer
	fetch "$1" "/tmp/nestlab-${1##*/}"
	sh "/tmp/nestlab-${1##*/}"
}

[ -e /tmp/nestlab-late ] || exit 10
# The installer warns of a script of this kind that failed, and restarts: 10 brings back its menu instead.
trap '[ "$?" = 0 ] || { tell fail settings "the installation failed" /var/log/syslog; exit 10; }' EXIT

# What packages were kept from running, now that everything it looks at is there.
for program in /usr/sbin/update-initramfs /usr/sbin/update-grub; do
	rm -f "/target$program"
	chroot /target dpkg-divert --quiet --local --rename --remove "$program"
done
# grub-mkconfig makes entries for it that cannot boot.
rm -f /target/boot/xen-*.efi
in-target sh -c 'update-initramfs -c -k all && update-grub'

tell end settings 'the host is installed'
