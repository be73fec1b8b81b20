#!/bin/sh
# Run by the installer before it looks at the disks.
set -eu

{% include "install/common.sh" %}

tell begin disks 'the disks are next'

# Packages that the installer would add by itself, each in a run of apt of its own: what laptops need, what is purged
# again at once, and what writes a report of the installation; its logs are kept without it.
for package in laptop-detect popcon save-logs; do rm -f /usr/lib/pre-pkgsel.d/*"$package"; done
{% if arrays %}

# The disks of new arrays are copied onto each other at once, and whoever formats an array waits for that. They are once
# the file systems are made, whenever the installer leaves the disks alone.
modprobe md-mod || :
limit=/proc/sys/dev/raid/speed_limit
if [ -e "${limit}_max" ]; then
	cat "${limit}_max" >/tmp/nestlab-md-speed
	echo 1 >"${limit}_min"
	echo 1 >"${limit}_max"
fi
{% endif %}
{% for script in scripts %}
run {{ script | shell }}
{% endfor %}

# Partman itself would go on without such a disk, and end with having no root file system.
update-dev --settle
set -- {{ disks | map("shell") | join(" \\\n\t") }}
for disk; do
	[ -e "$disk" ] || {
		tell fail disks "there is no disk $disk"
		exit 1
	}
done
