#!/bin/sh
# Makes the disks of guest {{ guest.name }}, and unpacks NetBSD's sets onto the first one. Run once, in a NetBSD host, as
# root.
set -eu
export PATH=/usr/sbin:/usr/bin:/sbin:/bin

{% include "make/disks" %}
{% include "make/fetch" %}

release={{ (mirror ~ "/NetBSD-" ~ made.release ~ "/amd64/binary") | shell }}
{% if guest.kernel %}
fetch "$release/kernel"/{{ guest.kernel.rpartition("/")[2] | shell }} {{ guest.kernel | shell }}
{% endif %}
for set in base etc man misc modules rescue text; do
    fetch "$release/sets/$set.tar.xz" {{ folder | shell }}/sets/"$set.tar.xz"
done

# Running guests hold some vnds.
unit=0
until vndconfig -l "vnd$unit" | grep -q 'not in use'; do
    unit=$((unit + 1))
    [ -e "/dev/vnd${unit}a" ] || (cd /dev && sh MAKEDEV "vnd$unit")
done
tree=$(mktemp -d)
finish() {
    umount "$tree" 2>/dev/null || true
    vndconfig -u "vnd$unit" 2>/dev/null || true
    rmdir "$tree"
}
trap finish EXIT
vndconfig "vnd$unit" {{ guest.disks[0].path | shell }}
disklabel -i -I "vnd$unit" <<'END'
a
4.2BSD
0
$
W
y
Q
END
newfs -O 2 "/dev/rvnd${unit}a"
mount "/dev/vnd${unit}a" "$tree"
for set in {{ folder | shell }}/sets/*.tar.xz; do
    tar -xpJf "$set" -C "$tree"
done
sh {{ scripts | shell }}/inside "$tree"{% if guest.kernel %} {{ guest.kernel | shell }}{% endif %}

