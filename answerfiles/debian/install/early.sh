#!/bin/sh
# Run by the installer before it asks anything, and again where it looks for answers in a second place.
set -eu

{% include "install/common.sh" %}

[ ! -e /tmp/nestlab-early ] || exit 0
: >/tmp/nestlab-early
tell 'the installer has read its answers'

# What the installer runs when it gets there.
milestone() { # FOLDER MARK
	mkdir -p "/usr/lib/$1"
	printf '#!/bin/sh\nprintf "\\n%%s\\n" "nestlab: %s" >/dev/console\n' "$2" >"/usr/lib/$1/00nestlab"
	chmod 0755 "/usr/lib/$1/00nestlab"
}
milestone base-installer.d 'the disks are ready'
milestone post-base-installer.d 'the base system is installed'
milestone pre-pkgsel.d 'packages are next'
{% for script in scripts %}
run {{ script | shell }}
{% endfor %}
