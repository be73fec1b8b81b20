# shellcheck shell=sh
# The lab's cards of this node. Run by its /init with `sh -e`.

# $1: a MAC; prints the name of the card that has it.
card() {
	for device in /sys/class/net/*/device; do
		read -r address <"${device%/device}/address"
		if [ "$address" = "$1" ]; then
			name=${device%/device}
			echo "${name##*/}"
			return
		fi
	done
	echo "no network card has the address $1" >&2
	return 1
}

# lan
nic=$(card 52:54:00:4b:24:00)
ip link set "$nic" mtu 9000 up
ip address add 10.0.0.2/24 dev "$nic"
ip link add link "$nic" name "$nic.100" type vlan id 100
ip link set "$nic.100" up
ip address add 10.0.100.2/24 dev "$nic.100"
