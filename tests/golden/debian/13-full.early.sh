#!/bin/sh
# Run by the installer before it asks anything, and again where it looks for answers in a second place.
set -eu

# Where the answers are, and marks on the console by which an installation is followed.
base=/nestlab

fetch() { # FILE TARGET
	case "$base" in
	*://*) fetch-url "$base/$1" "$2" ;;
	*) cp "$base/$1" "$2" ;;
	esac
}

tell() { # MARK
	printf '\n%s\n' "nestlab: $1" >/dev/console
}

run() { # FILE: one of the user's scripts, in the installer
	fetch "$1" "/tmp/nestlab-${1##*/}"
	sh "/tmp/nestlab-${1##*/}"
}

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
run early-1
