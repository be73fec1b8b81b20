# shellcheck shell=sh
# A lab on a Proxmox VE node. Run as root on it. Machines carry the tag nestlab; networks are bridges of the node.
need qm "run this on a Proxmox VE node"
need pvesh "run this on a Proxmox VE node"
NODE=$(hostname -s)

# id_of NAME: the number of a machine, nothing when there is none.
id_of() {
    listed=$(qm list)
    printf '%s\n' "$listed" | awk -v name="$1" '$2 == name { print $1 }'
}

# ours ID: fails for a machine that another made.
ours() {
    qm config "$1" | grep -Eqx -e 'tags: (.*;)?nestlab(;.*)?' || fail "machine $1 has the lab's name and is not nestlab's"
}

# network BRIDGE MTU
network() {
    if ! pvesh get "/nodes/$NODE/network/$1" >/dev/null 2>&1; then
        pvesh create "/nodes/$NODE/network" --iface "$1" --type bridge --autostart 1 --mtu "$2" --bridge_vlan_aware 1
        pvesh set "/nodes/$NODE/network"
    fi
}

# unnetwork BRIDGE
unnetwork() {
    if pvesh get "/nodes/$NODE/network/$1" >/dev/null 2>&1; then
        pvesh delete "/nodes/$NODE/network/$1"
        pvesh set "/nodes/$NODE/network"
    fi
}

# begin NAME OPTIONS...: a new machine with these, its number in $id; $fresh says whether it was made now. What an
# earlier run left half made is removed first.
begin() {
    name=$1
    shift
    fresh=yes
    id=$(id_of "$name")
    if [ -n "$id" ]; then
        ours "$id"
        if qm config "$id" | grep -Eqx -e 'tags: (.*;)?nestlab-ready(;.*)?'; then
            fresh=no
            say "$name is there"
            return 0
        fi
        remove "$name"
    fi
    id=$(pvesh get /cluster/nextid)
    qm create "$id" --name "$name" --tags nestlab "$@"
}

# give OPTION VALUE
give() {
    [ "$fresh" = yes ] || return 0
    qm set "$id" "$1" "$2"
}

# ready
ready() {
    [ "$fresh" = yes ] || return 0
    qm set "$id" --tags 'nestlab;nestlab-ready'
}

# start NAME
start() {
    id=$(id_of "$1")
    [ -n "$id" ] || fail "there is no machine $1: run create.sh"
    [ "$(qm status "$id")" = 'status: running' ] || qm start "$id"
}

# is_on ID
is_on() { [ "$(qm status "$1")" != 'status: stopped' ]; }

# finish NAME: waits until the installer has switched the machine off (when it does), takes the medium out, and starts
# it again. A drive that is empty says that this was done.
finish() {
    id=$(id_of "$1")
    [ -n "$id" ] || fail "there is no machine $1: run create.sh"
    settings=$(qm config "$id")
    if ! printf '%s\n' "$settings" | grep -q -e '^ide2: none'; then
        await_end "$1" ": qm terminal $id" is_on "$id"
        eject "$1"
    fi
    start "$1"
}

# eject NAME
eject() {
    id=$(id_of "$1")
    [ -z "$id" ] || qm set "$id" --ide2 none,media=cdrom
}

# remove NAME
remove() {
    gone=$(id_of "$1")
    [ -n "$gone" ] || return 0
    ours "$gone"
    if [ "$(qm status "$gone")" = 'status: running' ]; then
        qm stop "$gone"
    fi
    qm destroy "$gone" --purge 1
}
