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
{% for nic in nics %}

# {{ nic.network }}
nic=$(card {{ nic.mac }})
ip link set "$nic" mtu {{ nic.mtu }} up
{% for address in nic.addresses %}
ip address add {{ address }} dev "$nic"
{% endfor %}
{% for vlan in nic.trunk %}
ip link add link "$nic" name "$nic.{{ vlan }}" type vlan id {{ vlan }}
ip link set "$nic.{{ vlan }}" up
{% for address in nic.vlan_addresses.get(vlan, ()) %}
ip address add {{ address }} dev "$nic.{{ vlan }}"
{% endfor %}
{% endfor %}
{% endfor %}
