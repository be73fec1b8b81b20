#!/bin/sh
# Run by the installer when all packages are installed: makes the new system, at /target, a Xen host.
set -eu

{% include "install/common.sh" %}

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
{% for file in files %}
put {{ "%04o" | format(file.mode) }} {{ file.path | shell }}
{% endfor %}
chroot /target systemctl --no-reload --quiet enable {{ units | map("shell") | join(" ") }}

# The bridges are made by nestlab-network.service: ifupdown keeps the loopback device and nothing else.
printf 'auto lo\niface lo inet loopback\n' >/target/etc/network/interfaces

# What the installer would still do: look for another network program to tell of its own network, put a login prompt on
# the serial port, which is Xen's, and install an agent of the hypervisor below, which dom0 cannot talk to.
rm -f /tmp/connection_type
mkdir -p /var/run
: >/var/run/console-devices
[ -s /tmp/microcode.list ] || rm -f /usr/lib/finish-install.d/08hw-detect
{% if guests %}

# The partition that was left for guests becomes their volume group.
in-target vgcreate --yes {{ guests.volume_group | shell }} {{ guests.partition | shell }}
{% endif %}
{% if root_keys or users %}

{% endif %}
{% for key in root_keys %}
authorise /root {{ key | shell }}
{% endfor %}
{% for user in users %}
{% for group in user.groups %}
chroot /target groupadd --force {{ group | shell }}
{% endfor %}
# shellcheck disable=SC2016 # a hash begins with a dollar sign, which stays one
chroot /target useradd --create-home --shell /bin/bash --groups {{ user.all_groups | join(",") | shell }} --password {{ user.password | shell }} {{ user.name | shell }}
{% for key in user.keys %}
authorise {{ ("/home/" ~ user.name) | shell }} {{ key | shell }}
{% endfor %}
{% if user.keys %}
chroot /target chown -R {{ (user.name ~ ":") | shell }} {{ ("/home/" ~ user.name ~ "/.ssh") | shell }}
{% endif %}
{% if user.admin %}
echo {{ (user.name ~ " ALL=(ALL) NOPASSWD: ALL") | shell }} >{{ ("/target/etc/sudoers.d/nestlab-" ~ user.name) | shell }}
chmod 0440 {{ ("/target/etc/sudoers.d/nestlab-" ~ user.name) | shell }}
{% endif %}
{% endfor %}

# Files of this host alone, keys above all, come on a small volume beside the medium.
modprobe -q sr_mod || true
modprobe -q isofs || true
update-dev --settle
volume=/dev/disk/by-label/{{ volume }}
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
