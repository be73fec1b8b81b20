#!/bin/sh
# Run by the installer before it asks anything, and again where it looks for answers in a second place.
set -eu

{% include "install/common.sh" %}

[ ! -e /tmp/nestlab-early ] || exit 0
: >/tmp/nestlab-early
cat >/tmp/nestlab-tell <<'NESTLAB'
{% include "tell.sh" %}
NESTLAB
tell end answers 'the installer has read its answers'

# What the installer runs when it gets there: the input, and then a mark.
milestone() { # FILE begin|end PHASE MARK
	mkdir -p "${1%/*}"
	{
		echo '#!/bin/sh'
		cat
		printf 'sh /tmp/nestlab-tell %s %s "%s"\n' "$2" "$3" "$4"
	} >"$1"
	chmod 0755 "$1"
}

# The disks are laid out and mounted. From here on dpkg needs not wait for them after each file: the installer writes the
# same file, but only behind the base system; it takes it away in the end.
milestone /lib/partman/finish.d/99nestlab end disks 'the disks are ready' <<'END'
mkdir -p /target/etc/dpkg/dpkg.cfg.d
echo force-unsafe-io >/target/etc/dpkg/dpkg.cfg.d/force-unsafe-io
{% if arrays %}
[ ! -e /tmp/nestlab-md-speed ] || cat /tmp/nestlab-md-speed >/proc/sys/dev/raid/speed_limit_max
{% endif %}
END

# What each kernel, driver and loader package would run again is run once, by last.sh.
milestone /usr/lib/base-installer.d/00nestlab end base-system 'the base system is installed' <<'END'
for program in {{ once | join(" ") }}; do
	chroot /target dpkg-divert --quiet --local --rename --add "$program"
	mkdir -p "/target${program%/*}"
	echo '#!/bin/sh' >"/target$program"
	chmod 0755 "/target$program"
done
END
milestone /usr/lib/pre-pkgsel.d/00nestlab begin packages 'packages are next' </dev/null
# Behind late.sh the installer adds the processor's microcode and a driver of the screen's, each with an initrd of its own.
mkdir -p /usr/lib/finish-install.d
fetch last.sh /usr/lib/finish-install.d/11nestlab
chmod 0755 /usr/lib/finish-install.d/11nestlab

# Every step of the installer's menu, as its log names them. It goes on beside the installer, and holds none of its files.
cat >/tmp/nestlab-watch <<'NESTLAB'
tail -n 200 -f /var/log/syslog | while read -r line; do
	step=${line#*"Menu item '"}
	step=${step%%"'"*}
	case $line in
	*" main-menu["*"Menu item '"*"' selected") sh /tmp/nestlab-tell begin "$step" "step $step" ;;
	*" main-menu["*"Menu item '"*"' failed.") sh /tmp/nestlab-tell fail "$step" "step $step failed" /var/log/syslog ;;
	*" net-retriever: error: "*) sh /tmp/nestlab-tell fail components "${line#* net-retriever: }" /var/log/syslog ;;
	*" base-installer: error: "*) sh /tmp/nestlab-tell fail base-system "${line#* base-installer: }" /var/log/syslog ;;
	esac
done
NESTLAB
sh /tmp/nestlab-watch </dev/null >/dev/null 2>&1 3>&- 4>&- 5>&- 6>&- &
{% for script in scripts %}
run {{ script | shell }}
{% endfor %}
