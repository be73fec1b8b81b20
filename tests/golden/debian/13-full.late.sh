#!/bin/sh
# Run by the installer when all packages are installed: makes the new system, at /target, a Xen host.
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

trap '[ "$?" = 0 ] || tell fail settings "the installation failed" /var/log/syslog' EXIT

put() { # MODE PATH
	mkdir -p "/target${2%/*}"
	fetch "files$2" "/target$2"
	chmod "$1" "/target$2"
}

authorise() { # HOME KEY
	mkdir -p "/target$1/.ssh"
	chmod 0700 "/target$1/.ssh"
	printf '%s\n' "$2" >>"/target$1/.ssh/authorized_keys"
	chmod 0600 "/target$1/.ssh/authorized_keys"
}

# The same files that a golden image gets.
put 0644 /etc/default/grub.d/00-nestlab.cfg
put 0644 /etc/default/xendomains
put 0644 /etc/xen/xl.conf
put 0644 /etc/ssh/sshd_config.d/00-nestlab.conf
put 0644 /etc/systemd/system/ssh.service.d/nestlab.conf
put 0644 /etc/systemd/system/serial-getty@hvc0.service.d/nestlab.conf
put 0644 /etc/systemd/system/nestlab-network.service
put 0755 /usr/local/lib/nestlab/network
put 0644 /etc/nestlab/network
put 0644 /etc/systemd/system.conf.d/nestlab.conf
put 0644 /etc/nestlab/management
chroot /target systemctl --no-reload --quiet enable nestlab-network.service serial-getty@hvc0.service

# The bridges are made by nestlab-network.service: ifupdown keeps the loopback device and nothing else.
printf 'auto lo\niface lo inet loopback\n' >/target/etc/network/interfaces

# What the installer would still do: look for another network program to tell of its own network, put a login prompt on
# the serial port, which is Xen's, and install an agent of the hypervisor below, which dom0 cannot talk to.
rm -f /tmp/connection_type
mkdir -p /var/run
: >/var/run/console-devices
[ -s /tmp/microcode.list ] || rm -f /usr/lib/finish-install.d/08hw-detect

authorise /root 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAABBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB somebody@example'
chroot /target groupadd --force adm
chroot /target groupadd --force disk
# shellcheck disable=SC2016 # a hash begins with a dollar sign, which stays one
chroot /target useradd --create-home --shell /bin/bash --groups sudo,adm,disk --password '$6$saltsalt$aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa' alice
authorise /home/alice 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAABBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB somebody@example'
chroot /target chown -R alice: /home/alice/.ssh
echo 'alice ALL=(ALL) NOPASSWD: ALL' >/target/etc/sudoers.d/nestlab-alice
chmod 0440 /target/etc/sudoers.d/nestlab-alice
# shellcheck disable=SC2016 # a hash begins with a dollar sign, which stays one
chroot /target useradd --create-home --shell /bin/bash --groups '' --password '*' bob
authorise /home/bob 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAABBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB somebody@example'
chroot /target chown -R bob: /home/bob/.ssh

# Files of this host alone, keys above all, come on a small volume beside the medium.
modprobe -q sr_mod || true
modprobe -q isofs || true
update-dev --settle
volume=/dev/disk/by-label/NESTLAB
if [ -e "$volume" ]; then
	mkdir -p /tmp/nestlab-volume
	mount -o ro "$volume" /tmp/nestlab-volume
	if [ -d /tmp/nestlab-volume/seed ]; then
		cp -a /tmp/nestlab-volume/seed/. /target/
	fi
	umount /tmp/nestlab-volume
fi
for path in /root/.ssh /etc/ssh /etc/hostname /etc/sudoers.d; do
	if [ -e "/target$path" ]; then chroot /target chown -R root:root "$path"; fi
done
if [ -d /target/root/.ssh ]; then chmod 0700 /target/root/.ssh; fi

: >/tmp/nestlab-late
