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
nic=$(card 52:54:00:a0:46:ee)
ip link set "$nic" mtu 1500 up
ip address add 10.50.0.2/24 dev "$nic"
