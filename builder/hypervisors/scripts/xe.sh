# shellcheck shell=sh
# A lab on an XCP-ng or XenServer pool. Everything made carries other-config:nestlab=LAB; nothing without it is touched.
need xe "run this on a host of the pool, or where xe is set up"

# one UUIDS WHAT [HINT]: exactly one, or a failure that says so.
one() {
    case $1 in
        "") fail "there is no $2${3:+: $3}" ;;
        *,*) fail "there is more than one $2 ($1)${3:+: $3}" ;;
    esac
    printf '%s\n' "$1"
}

# found LIST...: what xe lists, without more words. xe separates UUIDs by commas. A failing xe is no empty list: it ends
# the script, or the $( ) that this stands in, whose end has to be looked at.
found() { xe "$@" --minimal || fail "xe $1 failed"; }

# each LIST...: the same, one UUID a line.
each() {
    several=$(found "$@") || exit 1
    printf '%s\n' "$several" | tr ',' '\n'
}

# unfinished NAME: what things are called until they carry the mark. xe cannot give it while it makes them, and what an
# interrupted run leaves is found by this.
unfinished() { printf '%s\n' "nestlab is making $1 of $LAB"; }

vm_of() { found vm-list "name-label=$1" "other-config:nestlab=$LAB" params=uuid; }
network_of() { found network-list "name-label=$1" "other-config:nestlab=$LAB" params=uuid; }
state_of() { xe vm-param-get "uuid=$1" param-name=power-state || fail "xe vm-param-get failed"; }

# is_on UUID
is_on() {
    state=$(state_of "$1") || exit 1
    [ "$state" != halted ]
}

# uplink NAME: a network of the pool, by its name or its bridge.
uplink() {
    uuid=$(found network-list "name-label=$1" params=uuid) || exit 1
    [ -n "$uuid" ] || uuid=$(found network-list "bridge=$1" params=uuid) || exit 1
    one "$uuid" "network $1"
}

# sr_of NAME [usual]: a storage repository of the pool, by its UUID or name. Of the usual name every host has its own:
# then it is the pool's default one.
sr_of() {
    uuid=$(found sr-list "uuid=$1" params=uuid) || exit 1
    [ -n "$uuid" ] || uuid=$(found sr-list "name-label=$1" params=uuid) || exit 1
    case ${2:-}:$uuid in
        usual: | usual:*,*)
            usual=$(found pool-list params=default-SR) || exit 1
            # A pool without one says so in words, which no repository has for its UUID.
            usual=$(found sr-list "uuid=${usual:-none}" params=uuid) || exit 1
            uuid=${usual:-$uuid}
            ;;
    esac
    one "$uuid" "storage repository $1" "nestlab export --storage takes the UUID of one, and xe sr-list shows them"
}

# template NAME...: the first of these that the pool has.
template() {
    for name in "$@"; do
        uuid=$(found template-list "name-label=$name" params=uuid) || exit 1
        if [ -n "$uuid" ]; then
            one "$uuid" "template $name"
            return 0
        fi
    done
    fail "the pool has none of the templates: $*"
}

# network NAME MTU
network() {
    uuid=$(network_of "$1") || exit 1
    [ -z "$uuid" ] || return 0
    uuid=$(found network-list "name-label=$(unfinished "$1")" params=uuid) || exit 1
    [ -n "$uuid" ] || uuid=$(xe network-create "name-label=$(unfinished "$1")" "MTU=$2")
    xe network-param-set "uuid=$uuid" "other-config:nestlab=$LAB"
    xe network-param-set "uuid=$uuid" "name-label=$1"
}

# lab_network NAME: one of this lab's own.
lab_network() {
    uuid=$(network_of "$1") || exit 1
    one "$uuid" "network $1 of this lab"
}

# machine NAME: one of this lab's own.
machine() {
    uuid=$(vm_of "$1") || exit 1
    one "$uuid" "machine $1 of this lab"
}

# begin NAME VCPUS BYTES FIRMWARE: a halted machine with fixed memory, in $vm. $fresh says whether it was made now; what
# an earlier run left half made is removed first.
begin() {
    fresh=yes
    vm=$(vm_of "$1") || exit 1
    if [ -n "$vm" ]; then
        whole=$(found vm-list "uuid=$vm" other-config:nestlab-ready=true params=uuid) || exit 1
        if [ -n "$whole" ]; then
            fresh=no
            say "$1 is there"
            return 0
        fi
    fi
    remove "$1"
    base=$(template "$TEMPLATE" "Other install media")
    vm=$(xe vm-clone "uuid=$base" "new-name-label=$(unfinished "$1")")
    xe vm-param-set "uuid=$vm" is-a-template=false "other-config:nestlab=$LAB" "name-description=Made by nestlab"
    xe vm-param-set "uuid=$vm" "name-label=$1"
    # The template's own disks would be made as well.
    settings=$(xe vm-param-get "uuid=$vm" param-name=other-config)
    case "; $settings" in
        *"; disks: "*) xe vm-param-remove "uuid=$vm" param-name=other-config param-key=disks ;;
    esac
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
    vdi=$(xe vdi-create "sr-uuid=$SR" "name-label=$(unfinished "$1")" "virtual-size=$2" type=user)
    xe vdi-param-set "uuid=$vdi" "other-config:nestlab=$LAB"
    xe vdi-param-set "uuid=$vdi" "name-label=$1"
    if [ $# -gt 3 ]; then
        [ -e "$4" ] || fail "$4 is missing: copy what prepare.sh made"
        xe vdi-import "uuid=$vdi" "filename=$4" format=vhd
    fi
    xe vbd-create "vm-uuid=$vm" "vdi-uuid=$vdi" "device=$3" "bootable=$bootable" type=Disk mode=RW >/dev/null
}

# drive NAME DEVICE: the medium of that name, which has to be in an ISO storage repository of the pool.
drive() {
    [ "$fresh" = yes ] || return 0
    # A file that was copied there is known after this. One repository that cannot be read need not be the medium's.
    libraries=$(each sr-list type=iso params=uuid) || exit 1
    for library in $libraries; do
        xe sr-scan "uuid=$library" || say "xe sr-scan failed for the ISO storage repository $library"
    done
    vdi=$(found vdi-list "name-label=$1" params=uuid) || exit 1
    vdi=$(one "$vdi" "medium $1 in an ISO storage repository") || exit 1
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
    uuid=$(machine "$1") || exit 1
    state=$(state_of "$uuid") || exit 1
    [ "$state" = running ] || xe vm-start "uuid=$uuid"
}

# has_medium UUID
has_medium() {
    media=$(found vbd-list "vm-uuid=$1" type=CD empty=false params=uuid) || exit 1
    [ -n "$media" ]
}

# finish NAME: waits until the installer has switched the machine off (when it does), takes the medium out, and starts
# it again. A drive that is empty says that this was done.
finish() {
    uuid=$(machine "$1") || exit 1
    if has_medium "$uuid"; then
        await_end "$1" "" is_on "$uuid"
        eject "$1"
    fi
    start "$1"
}

# eject NAME
eject() {
    uuid=$(vm_of "$1") || exit 1
    [ -n "$uuid" ] || return 0
    if has_medium "$uuid"; then
        xe vm-cd-eject "uuid=$uuid"
    fi
}

# remove NAME: the machine, off, without its disks; and what an interrupted run left of one, at first a template.
remove() {
    ours=$(each vm-list "name-label=$1" "other-config:nestlab=$LAB" params=uuid) || exit 1
    begun=$(each vm-list "name-label=$(unfinished "$1")" params=uuid) || exit 1
    copies=$(each template-list "name-label=$(unfinished "$1")" params=uuid) || exit 1
    for uuid in $copies; do
        xe vm-param-set "uuid=$uuid" is-a-template=false
    done
    for uuid in $ours $begun $copies; do
        if is_on "$uuid"; then
            xe vm-shutdown "uuid=$uuid" --force
        fi
        xe vm-destroy "uuid=$uuid"
    done
}

# discard NAME: a disk of this lab.
discard() {
    ours=$(each vdi-list "name-label=$1" "other-config:nestlab=$LAB" params=uuid) || exit 1
    begun=$(each vdi-list "name-label=$(unfinished "$1")" params=uuid) || exit 1
    for uuid in $ours $begun; do
        xe vdi-destroy "uuid=$uuid"
    done
}

# unnetwork NAME
unnetwork() {
    ours=$(each network-list "name-label=$1" "other-config:nestlab=$LAB" params=uuid) || exit 1
    begun=$(each network-list "name-label=$(unfinished "$1")" params=uuid) || exit 1
    for uuid in $ours $begun; do
        xe network-destroy "uuid=$uuid"
    done
}
