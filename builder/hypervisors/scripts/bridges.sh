# shellcheck shell=sh
# Linux bridges for the lab's networks. They have no card of this machine and no address: frames stay among the nodes.
need ip "apt-get install iproute2"

# bridge NAME MTU
bridge() {
    ip link show dev "$1" >/dev/null 2>&1 || ip link add name "$1" type bridge
    ip link set dev "$1" mtu "$2" up
}

# access BRIDGE VLAN NAME MTU: a bridge whose ports see that VLAN of BRIDGE without a tag.
access() {
    ip link show dev "$1.$2" >/dev/null 2>&1 || ip link add link "$1" name "$1.$2" type vlan id "$2"
    bridge "$3" "$4"
    ip link set dev "$1.$2" master "$3" mtu "$4" up
}

# unbridge NAME
unbridge() {
    if ip link show dev "$1" >/dev/null 2>&1; then
        ip link delete dev "$1"
    fi
}
