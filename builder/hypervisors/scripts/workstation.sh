# shellcheck shell=sh
# A lab under VMware Workstation on Linux.
need vmrun "install VMware Workstation"
need vmware-vdiskmanager "install VMware Workstation"

# network NAME VMNET: made in the Virtual Network Editor; there is no command for it.
network() {
    [ -e "/dev/$2" ] || fail "there is no $2 for the network $1: add it as host-only, without DHCP (vmware-netcfg)"
}

# blank PATH BYTES
blank() {
    [ -e "$1" ] || vmware-vdiskmanager -c -s "$(($2 / 1048576))MB" -a lsilogic -t 0 "$1"
}

# import FROM TO: a copy of what qemu-img wrote, which Workstation runs from.
import() {
    if [ ! -e "$2" ]; then
        present "$1"
        vmware-vdiskmanager -r "$1" -t 0 "$2"
    fi
}

# register NAME FILE: Workstation needs none.
register() { :; }

# is_on NAME FILE. `set -e` is off in here, as it is used in `if`: a vmrun that fails says nothing of a machine.
is_on() {
    listed=$(vmrun -T ws list) || fail "vmrun does not tell whether $1 is on"
    printf '%s\n' "$listed" | grep -Fqx -e "$2"
}

# start NAME FILE
start() {
    if ! is_on "$1" "$2"; then
        aside "$1" "$2"
        vmrun -T ws start "$2" nogui
    fi
}

# eject NAME FILE: of a machine that is off.
eject() {
    if is_on "$1" "$2"; then
        ! has_medium "$2" || fail "$1 is on: its medium can be taken out when it is off"
        return 0
    fi
    without_medium "$2"
}

# remove NAME FILE
remove() {
    [ -e "$2" ] || return 0
    if is_on "$1" "$2"; then
        vmrun -T ws stop "$2" hard
    fi
}

# discard PATH
discard() { rm -f -- "$1"; }
