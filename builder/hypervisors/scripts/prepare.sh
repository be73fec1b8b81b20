# shellcheck shell=sh
# Disks and media for the L0, made on the machine that has nestlab and qemu-img.
[ $# -eq 2 ] || fail "usage: prepare.sh SOURCES OUT: the folder with media and images, and the one to be filled"
sources=$1
out=$2
mkdir -p -- "$out"
sources=$(CDPATH='' cd -- "$sources" && pwd)
out=$(CDPATH='' cd -- "$out" && pwd)
need qemu-img "apt-get install qemu-utils"

# convert NAME BYTES FORMAT OPTIONS SUFFIX: NAME.qcow2 as a disk of that size and format, compared with its source.
convert() {
    source=$sources/$1.qcow2
    target=$out/$1.$5
    if [ -e "$target" ]; then
        say "$target is there"
        return 0
    fi
    [ -e "$source" ] || fail "$source is missing; README.md says how to make it"
    grown=$out/.$1.grown
    rm -f -- "$grown" "$target.partial"
    qemu-img create -q -f qcow2 -F qcow2 -b "$source" "$grown" "$2"
    qemu-img convert -q -f qcow2 -O "$3" ${4:+-o "$4"} "$grown" "$target.partial"
    qemu-img compare -q -f qcow2 -F "$3" "$grown" "$target.partial" || fail "$target differs from its source"
    rm -f -- "$grown"
    mv -- "$target.partial" "$target"
    say "$target is made"
}

# medium NAME: the medium that installs by itself, under the name that the L0's files expect.
medium() {
    target=$out/$1
    if [ -e "$target" ]; then
        say "$target is there"
        return 0
    fi
    [ -e "$sources/$1" ] || fail "$sources/$1 is missing; README.md says how to make it"
    cp -- "$sources/$1" "$target.partial"
    mv -- "$target.partial" "$target"
    say "$target is made"
}
