# shellcheck shell=sh
# A lab on a Proxmox VE node. Run as root on it. Machines carry the tag nestlab; networks are bridges of the node.
need qm "run this on a Proxmox VE node"
need pvesh "run this on a Proxmox VE node"
NODE=$(hostname -s)
# The node's networks. Changes are staged in a file beside it until they are applied (Administration Guide, "Network
# Configuration").
PVE_INTERFACES=${PVE_INTERFACES:-/etc/network/interfaces}

# id_of NAME: the number of a machine, nothing when there is none. A failing qm is no empty list: it ends the $( ) that
# this stands in, whose end has to be looked at.
id_of() {
    listed=$(qm list) || fail "qm list failed, so that nobody knows about $1"
    printf '%s\n' "$listed" | awk -v name="$1" '$2 == name { print $1 }'
}

# settings_of ID
settings_of() { qm config "$1" || fail "qm config failed, so that nobody knows whose machine $1 is"; }

# ours ID: fails for a machine that another made.
ours() {
    settings=$(settings_of "$1") || exit 1
    printf '%s\n' "$settings" | grep -Eqx -e 'tags: (.*;)?nestlab(;.*)?' ||
        fail "machine $1 has the lab's name and is not nestlab's"
}

# state_of ID
state_of() { qm status "$1" || fail "qm status failed, so that nobody knows whether machine $1 runs"; }

# bridge_of NAME: what the node tells of a bridge, nothing when there is none.
bridge_of() {
    if told=$(pvesh get "/nodes/$NODE/network/$1" --output-format json 2>&1); then
        printf '%s\n' "$told"
    else
        case $told in
            *"interface does not exist"*) ;;
            *) fail "pvesh get /nodes/$NODE/network/$1 failed: $told" ;;
        esac
    fi
}

# marked TOLD NETWORK: whether that bridge is this lab's, for that network. The node ends a comment with a line break.
marked() {
    case $1 in
        *'"comments":"nestlab '"$LAB $2"'\n"'* | *'"comments":"nestlab '"$LAB $2"'"'*) return 0 ;;
    esac
    return 1
}

# apply CHANGE...: a change of the node's networks, applied at once, and taken back if that fails. What others have
# staged would be applied with it.
apply() {
    [ ! -e "$PVE_INTERFACES.new" ] ||
        fail "changes of this node's network are staged ($PVE_INTERFACES.new), and would be applied by this too:" \
            "apply them (pvesh set /nodes/$NODE/network) or drop them (pvesh delete /nodes/$NODE/network) first"
    trap 'pvesh delete "/nodes/$NODE/network"' EXIT
    trap 'exit 1' HUP INT TERM
    "$@"
    pvesh set "/nodes/$NODE/network"
    trap - EXIT HUP INT TERM
}

# network BRIDGE MTU NETWORK
network() {
    bridge=$(bridge_of "$1") || exit 1
    if [ -z "$bridge" ]; then
        apply pvesh create "/nodes/$NODE/network" --iface "$1" --type bridge --autostart 1 --mtu "$2" \
            --bridge_vlan_aware 1 --comments "nestlab $LAB $3"
        return 0
    fi
    marked "$bridge" "$3" || fail "the bridge $1 is there, and is not the lab's for its network $3 (its comment is" \
        "not 'nestlab $LAB $3'): take it away, or give the network another name"
    case $bridge in
        *'"active":1'* | *'"active":"1"'*) ;;
        *) apply : ;; # an interrupted run had not come to that
    esac
}

# unnetwork BRIDGE NETWORK
unnetwork() {
    bridge=$(bridge_of "$1") || exit 1
    if [ -z "$bridge" ]; then
        return 0
    fi
    if marked "$bridge" "$2"; then
        apply pvesh delete "/nodes/$NODE/network/$1"
    else
        say "the bridge $1 is kept: its comment is not 'nestlab $LAB $2'"
    fi
}

# begin NAME OPTIONS...: a new machine with these, its number in $id; $fresh says whether it was made now. What an
# earlier run left half made is removed first.
begin() {
    name=$1
    shift
    fresh=yes
    id=$(id_of "$name") || exit 1
    if [ -n "$id" ]; then
        ours "$id"
        if printf '%s\n' "$settings" | grep -Eqx -e 'tags: (.*;)?nestlab-ready(;.*)?'; then
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

# machine NAME: its number.
machine() {
    number=$(id_of "$1") || exit 1
    [ -n "$number" ] || fail "there is no machine $1: run create.sh"
    printf '%s\n' "$number"
}

# start NAME
start() {
    id=$(machine "$1") || exit 1
    state=$(state_of "$id") || exit 1
    [ "$state" = 'status: running' ] || qm start "$id"
}

# is_on ID
is_on() {
    state=$(state_of "$1") || exit 1
    [ "$state" != 'status: stopped' ]
}

# finish NAME: waits until the installer has switched the machine off (when it does), takes the medium out, and starts
# it again. A drive that is empty says that this was done.
finish() {
    id=$(machine "$1") || exit 1
    settings=$(settings_of "$id") || exit 1
    if ! printf '%s\n' "$settings" | grep -q -e '^ide2: none'; then
        await_end "$1" ": qm terminal $id" is_on "$id"
        eject "$1"
    fi
    start "$1"
}

# eject NAME
eject() {
    id=$(id_of "$1") || exit 1
    [ -z "$id" ] || qm set "$id" --ide2 none,media=cdrom
}

# remove NAME
remove() {
    gone=$(id_of "$1") || exit 1
    [ -n "$gone" ] || return 0
    ours "$gone"
    if is_on "$gone"; then
        qm stop "$gone"
    fi
    qm destroy "$gone" --purge 1
}
