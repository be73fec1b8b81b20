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

# trunk
nic=$(card 52:54:00:73:04:49)
ip link set "$nic" mtu 1500 up
ip address add 10.30.20.2/24 dev "$nic"
