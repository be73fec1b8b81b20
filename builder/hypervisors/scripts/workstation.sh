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

is_on() {
    listed=$(vmrun -T ws list)
    printf '%s\n' "$listed" | grep -Fqx -e "$1"
}

# start NAME FILE
start() {
    is_on "$2" || vmrun -T ws start "$2" nogui
}

# eject NAME FILE: the medium is out from the next start on.
eject() { without_medium "$2"; }

# remove NAME FILE
remove() {
    [ -e "$2" ] || return 0
    if is_on "$2"; then
        vmrun -T ws stop "$2" hard
    fi
}

# discard PATH
discard() { rm -f -- "$1"; }
