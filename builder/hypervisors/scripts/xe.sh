# shellcheck shell=sh
# A lab on an XCP-ng or XenServer pool. Everything made carries other-config:nestlab=LAB; nothing without it is touched.
need xe "run this on a host of the pool, or where xe is set up"

# one UUIDS WHAT: exactly one, or a failure that says so.
one() {
    case $1 in
        "") fail "there is no $2" ;;
        *,*) fail "there is more than one $2: $1" ;;
    esac
    printf '%s\n' "$1"
}

# found LIST...: what xe lists, without more words. xe separates UUIDs by commas.
found() { xe "$@" --minimal; }

vm_of() { found vm-list "name-label=$1" "other-config:nestlab=$LAB" params=uuid; }
vdi_of() { found vdi-list "name-label=$1" "other-config:nestlab=$LAB" params=uuid; }
network_of() { found network-list "name-label=$1" "other-config:nestlab=$LAB" params=uuid; }
is_on() { [ "$(state_of "$1")" != halted ]; }
state_of() { xe vm-param-get "uuid=$1" param-name=power-state; }

# uplink NAME: a network of the pool, by its name or its bridge.
uplink() {
    uuid=$(found network-list "name-label=$1" params=uuid)
    [ -n "$uuid" ] || uuid=$(found network-list "bridge=$1" params=uuid)
    one "$uuid" "network $1"
}

sr_of() { one "$(found sr-list "name-label=$1" params=uuid)" "storage repository $1"; }

# template NAME...: the first of these that the pool has.
template() {
    for name in "$@"; do
        uuid=$(found template-list "name-label=$name" params=uuid)
        if [ -n "$uuid" ]; then
            one "$uuid" "template $name"
            return 0
        fi
    done
    fail "the pool has none of the templates: $*"
}

# network NAME MTU
network() {
    if [ -z "$(network_of "$1")" ]; then
        uuid=$(xe network-create "name-label=$1" "MTU=$2")
        xe network-param-set "uuid=$uuid" "other-config:nestlab=$LAB"
    fi
}

# lab_network NAME: one of this lab's own.
lab_network() { one "$(network_of "$1")" "network $1 of this lab"; }

# begin NAME VCPUS BYTES FIRMWARE: a halted machine with fixed memory, in $vm. $fresh says whether it was made now; what
# an earlier run left half made is removed first.
begin() {
    fresh=yes
    vm=$(vm_of "$1")
    if [ -n "$vm" ]; then
        if [ -n "$(found vm-list "uuid=$vm" other-config:nestlab-ready=true params=uuid)" ]; then
            fresh=no
            say "$1 is there"
            return 0
        fi
        remove "$1"
    fi
    base=$(template "$TEMPLATE" "Other install media")
    vm=$(xe vm-clone "uuid=$base" "new-name-label=$1")
    xe vm-param-set "uuid=$vm" is-a-template=false "other-config:nestlab=$LAB" "name-description=Made by nestlab"
    # The template's own disks would be made as well.
    if xe vm-param-get "uuid=$vm" param-name=other-config param-key=disks >/dev/null 2>&1; then
        xe vm-param-remove "uuid=$vm" param-name=other-config param-key=disks
    fi
    xe vm-memory-limits-set "uuid=$vm" "static-min=$3" "dynamic-min=$3" "dynamic-max=$3" "static-max=$3"
    # The most is raised before what starts, and it may not be below it.
    xe vm-param-set "uuid=$vm" VCPUs-at-startup=1
    xe vm-param-set "uuid=$vm" "VCPUs-max=$2"
    xe vm-param-set "uuid=$vm" "VCPUs-at-startup=$2"
    xe vm-param-set "uuid=$vm" PV-bootloader= "HVM-boot-policy=BIOS order" HVM-boot-params:order=cd \
        "HVM-boot-params:firmware=$4" "platform:nic_type=$NIC"
    for key in $NESTED; do
        xe vm-param-set "uuid=$vm" "platform:$key=true"
    done
    if [ "$4" = uefi ]; then
        xe vm-param-set "uuid=$vm" platform:device-model=qemu-upstream-uefi
    fi
}

# disk NAME BYTES DEVICE [FILE]: a disk of $vm, filled from a VHD file if one is given.
disk() {
    [ "$fresh" = yes ] || return 0
    discard "$1"
    bootable=false
    [ "$3" != 0 ] || bootable=true
    vdi=$(xe vdi-create "sr-uuid=$SR" "name-label=$1" "virtual-size=$2" type=user)
    xe vdi-param-set "uuid=$vdi" "other-config:nestlab=$LAB"
    if [ $# -gt 3 ]; then
        [ -e "$4" ] || fail "$4 is missing: copy what prepare.sh made"
        xe vdi-import "uuid=$vdi" "filename=$4" format=vhd
    fi
    xe vbd-create "vm-uuid=$vm" "vdi-uuid=$vdi" "device=$3" "bootable=$bootable" type=Disk mode=RW >/dev/null
}

# drive NAME DEVICE: the medium of that name, which has to be in an ISO storage repository of the pool.
drive() {
    [ "$fresh" = yes ] || return 0
    vdi=$(one "$(found vdi-list "name-label=$1" params=uuid)" "medium $1 in an ISO storage repository")
    xe vbd-create "vm-uuid=$vm" "vdi-uuid=$vdi" "device=$2" type=CD mode=RO >/dev/null
}

# card NETWORK-UUID DEVICE MAC
card() {
    [ "$fresh" = yes ] || return 0
    xe vif-create "vm-uuid=$vm" "network-uuid=$1" "device=$2" "mac=$3" >/dev/null
}

# ready: the machine is complete.
ready() {
    [ "$fresh" = yes ] || return 0
    xe vm-param-set "uuid=$vm" other-config:nestlab-ready=true
}

# start NAME
start() {
    uuid=$(one "$(vm_of "$1")" "machine $1 of this lab")
    [ "$(state_of "$uuid")" = running ] || xe vm-start "uuid=$uuid"
}

# has_medium UUID
has_medium() { [ -n "$(found vbd-list "vm-uuid=$1" type=CD empty=false params=uuid)" ]; }

# finish NAME: waits until the installer has switched the machine off (when it does), takes the medium out, and starts
# it again. A drive that is empty says that this was done.
finish() {
    uuid=$(one "$(vm_of "$1")" "machine $1 of this lab")
    if has_medium "$uuid"; then
        await_end "$1" "" is_on "$uuid"
        eject "$1"
    fi
    start "$1"
}

# eject NAME
eject() {
    uuid=$(vm_of "$1")
    [ -n "$uuid" ] || return 0
    if has_medium "$uuid"; then
        xe vm-cd-eject "uuid=$uuid"
    fi
}

# remove NAME: the machine, off, without its disks.
remove() {
    uuid=$(vm_of "$1")
    [ -n "$uuid" ] || return 0
    [ "$(state_of "$uuid")" = halted ] || xe vm-shutdown "uuid=$uuid" --force
    xe vm-destroy "uuid=$uuid"
}

# discard NAME: a disk of this lab.
discard() {
    uuid=$(vdi_of "$1")
    [ -n "$uuid" ] || return 0
    xe vdi-destroy "uuid=$uuid"
}

# unnetwork NAME
unnetwork() {
    uuid=$(network_of "$1")
    [ -n "$uuid" ] || return 0
    xe network-destroy "uuid=$uuid"
}
