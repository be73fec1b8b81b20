# shellcheck shell=sh
# A lab on an ESXi host. Run in the host's shell (ssh), as root.
need vim-cmd "run this in the shell of an ESXi host"
need esxcli "run this in the shell of an ESXi host"

# A listing is held in a variable before it is searched, so that a failing command is not taken for an empty list.
switch_there() {
    listed=$(esxcli --formatter=csv network vswitch standard list)
    printf '%s\n' "$listed" | tr ',' '\n' | grep -Fqx -e "$1"
}

group_there() {
    listed=$(esxcli --formatter=csv network vswitch standard portgroup list)
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

# id_of NAME: the host's number of the machine whose file is in a folder of that name, as create.sh makes it; nothing
# when there is none. Another machine of that name is none of ours.
id_of() {
    listed=$(vim-cmd vmsvc/getallvms)
    printf '%s\n' "$listed" | awk -v name="$1" '$2 == name && index($0, name "/" name ".vmx") { print $1 }'
}

# register NAME FILE
register() {
    id=$(id_of "$1")
    [ -n "$id" ] || vim-cmd solo/registervm "$2"
}

is_on() { vim-cmd vmsvc/power.getstate "$1" | grep -Fqx 'Powered on'; }

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
    id=$(id_of "$1")
    [ -n "$id" ] || fail "$1 is not registered: run create.sh"
    is_on "$id" || vim-cmd vmsvc/power.on "$id"
}

# eject NAME FILE: the medium is out from the next start on.
eject() {
    without_medium "$2"
    id=$(id_of "$1")
    [ -z "$id" ] || vim-cmd vmsvc/reload "$id"
}

# remove NAME FILE
remove() {
    id=$(id_of "$1")
    [ -n "$id" ] || return 0
    if is_on "$id"; then
        vim-cmd vmsvc/power.off "$id"
    fi
    vim-cmd vmsvc/unregister "$id"
}

# discard PATH
discard() {
    if [ -e "$1" ]; then
        vmkfstools --deletevirtualdisk "$1"
    fi
}
