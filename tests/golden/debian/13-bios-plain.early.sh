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

# What the installer runs when it gets there: the input, and then a mark.
milestone() { # FILE MARK
	mkdir -p "${1%/*}"
	{
		echo '#!/bin/sh'
		cat
		printf 'printf "\\n%%s\\n" "nestlab: %s" >/dev/console\n' "$2"
	} >"$1"
	chmod 0755 "$1"
}

# The disks are laid out and mounted. From here on dpkg needs not wait for them after each file: the installer writes the
# same file, but only behind the base system; it takes it away in the end.
milestone /lib/partman/finish.d/99nestlab 'the disks are ready' <<'END'
mkdir -p /target/etc/dpkg/dpkg.cfg.d
echo force-unsafe-io >/target/etc/dpkg/dpkg.cfg.d/force-unsafe-io
END

# What each kernel, driver and loader package would run again is run once, by late.sh.
milestone /usr/lib/base-installer.d/00nestlab 'the base system is installed' <<'END'
for program in /usr/sbin/update-initramfs /usr/sbin/update-grub; do
	chroot /target dpkg-divert --quiet --local --rename --add "$program"
	mkdir -p "/target${program%/*}"
	echo '#!/bin/sh' >"/target$program"
	chmod 0755 "/target$program"
done
END
milestone /usr/lib/pre-pkgsel.d/00nestlab 'packages are next' </dev/null
