#!/bin/sh
# What makes a NetBSD system a guest of Xen: inside [ROOT [KERNEL]]. ROOT is where the system is, / when it runs.
set -eu
tree=${1:-}
kernel=${2:-}

# change FILE SCRIPT: FILE as sed leaves it
change() {
    if [ -e "$1" ]; then
        sed "$2" "$1" >"$1.new"
        cat "$1.new" >"$1"
        rm "$1.new"
    fi
}

# set_rc NAME VALUE: one line for each name
set_rc() {
    change "$tree/etc/rc.conf" "/^$1=/d"
    printf '%s=%s\n' "$1" "$2" >>"$tree/etc/rc.conf"
}

# The console is the only terminal: there are no screens behind ttyE0 and its like.
change "$tree/etc/ttys" '/^console[[:blank:]]/{
s/[[:blank:]]off[[:blank:]]/ on /
b
}
s/[[:blank:]]on[[:blank:]]/ off /'
change "$tree/etc/wscons.conf" 's/^screen/#screen/'

set_rc rc_configured YES
set_rc hostname {{ guest.name | shell }}
# `xl shutdown` is a press of the power button, which powerd answers
set_rc powerd YES
set_rc wscons NO
set_rc dhcpcd YES
set_rc sshd YES
if [ ! -s "$tree/etc/fstab" ]; then
    printf '/dev/xbd0a / ffs rw,log 1 1\nkernfs /kern kernfs rw\nptyfs /dev/pts ptyfs rw\nprocfs /proc procfs rw\n' >"$tree/etc/fstab"
    mkdir -p "$tree/kern" "$tree/proc"
fi

# Programs look into /netbsd for the names of the kernel's variables, wherever that kernel came from.
case $kernel in
*.gz) gzip -dc "$kernel" >"$tree/netbsd" ;;
?*) cp "$kernel" "$tree/netbsd" ;;
esac
{% if guest.disks | length > 4 %}

# Nodes of four disks are there from the start.
cd "$tree/dev"
{% for number in range(4, guest.disks | length) %}
sh MAKEDEV xbd{{ number }}
{% endfor %}
{% endif %}
{% if made.keys %}

{% include "make/keys" %}
{% endif %}
