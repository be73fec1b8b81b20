# shellcheck shell=sh
# A lab on an ESXi host. Run in the host's shell (ssh), as root.
need vim-cmd "run this in the shell of an ESXi host"
need esxcli "run this in the shell of an ESXi host"

# `set -e` is off wherever a function is asked in `if`, `while` or before `||`: what asks the host says itself that a
# failing command ends the script, so that it is not taken for an empty list or for a machine that is off.
switch_there() {
    listed=$(esxcli --formatter=csv network vswitch standard list) || fail "esxcli does not list the vSwitches"
    printf '%s\n' "$listed" | tr ',' '\n' | grep -Fqx -e "$1"
}

group_there() {
    listed=$(esxcli --formatter=csv network vswitch standard portgroup list) || fail "esxcli does not list port groups"
    printf '%s\n' "$listed" | tr ',' '\n' | grep -Fqx -e "$1"
}

# vswitch NAME MTU: a switch without a card of the host.
vswitch() {
    switch_there "$1" || esxcli network vswitch standard add "--vswitch-name=$1"
    esxcli network vswitch standard set "--vswitch-name=$1" "--mtu=$2"
}

# portgroup NAME SWITCH VLAN: promiscuous, as nested hosts need it. VLAN 4095 passes every tag on.
portgroup() {
    group_there "$1" || esxcli network vswitch standard portgroup add "--portgroup-name=$1" "--vswitch-name=$2"
    esxcli network vswitch standard portgroup set "--portgroup-name=$1" "--vlan-id=$3"
    esxcli network vswitch standard portgroup policy security set "--portgroup-name=$1" \
        --allow-promiscuous=true --allow-forged-transmits=true --allow-mac-change=true
}

# unportgroup NAME SWITCH
unportgroup() {
    if group_there "$1"; then
        esxcli network vswitch standard portgroup remove "--portgroup-name=$1" "--vswitch-name=$2"
    fi
}

# unvswitch NAME
unvswitch() {
    if switch_there "$1"; then
        esxcli network vswitch standard remove "--vswitch-name=$1"
    fi
}

# look_up NAME: `id` becomes the host's number of the machine whose file is in a folder of that name, as create.sh makes
# it; nothing when there is none. Another machine of that name is none of ours.
look_up() {
    listed=$(vim-cmd vmsvc/getallvms) || fail "vim-cmd does not list the machines of this host"
    id=$(printf '%s\n' "$listed" | awk -v name="$1" '$2 == name && index($0, name "/" name ".vmx") { print $1 }')
}

# register NAME FILE
register() {
    look_up "$1"
    [ -n "$id" ] || vim-cmd solo/registervm "$2"
}

# power NAME: `power` becomes on, off or suspended, of the machine `id`.
power() {
    told=$(vim-cmd vmsvc/power.getstate "$id") || fail "vim-cmd does not tell whether $1 is on"
    case $told in
        *'Powered on'*) power=on ;;
        *'Powered off'*) power=off ;;
        *Suspended*) power=suspended ;;
        *) fail "vim-cmd tells of the power of $1: $told" ;;
    esac
}

# blank PATH BYTES
blank() {
    [ -e "$1" ] || vmkfstools --createvirtualdisk "$2" --diskformat thin "$1"
}

# import FROM TO: what qemu-img wrote, in the form that ESXi runs from.
import() {
    if [ ! -e "$2" ]; then
        present "$1"
        vmkfstools --importvirtualdisk "$1" --diskformat thin "$2"
    fi
}

# start NAME FILE
start() {
    look_up "$1"
    [ -n "$id" ] || fail "$1 is not registered: run create.sh"
    power "$1"
    if [ "$power" != on ]; then
        aside "$1" "$2"
        vim-cmd vmsvc/power.on "$id"
    fi
}

# eject NAME FILE: of a machine that is off, which the host then reads anew.
eject() {
    look_up "$1"
    power=off
    [ -z "$id" ] || power "$1"
    if [ "$power" != off ]; then
        ! has_medium "$2" || fail "$1 is $power: its medium can be taken out when it is off"
        return 0
    fi
    without_medium "$2"
    [ -z "$id" ] || vim-cmd vmsvc/reload "$id"
}

# remove NAME FILE
remove() {
    look_up "$1"
    [ -n "$id" ] || return 0
    power "$1"
    [ "$power" != on ] || vim-cmd vmsvc/power.off "$id"
    vim-cmd vmsvc/unregister "$id"
}

# discard PATH
discard() {
    if [ -e "$1" ]; then
        vmkfstools --deletevirtualdisk "$1"
    fi
}
