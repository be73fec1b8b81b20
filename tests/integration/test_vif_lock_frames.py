"""A locked interface, with the real Open vSwitch and real frames: what the check takes for a lock drops what is
spoofed, and where a rule is missing, is too wide or has been left behind, the check says so.

XAPI is made up: its fields, and its script setup-vif-rules, whose rules and order are restated. What the rules do, and
what Open vSwitch says of them, is real.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from builder.procedures import load_procedure
from builder.procedures.engine import Engine, Outcome
from builder.procedures.options import parse_options
from builder.procedures.vif_lock import frames
from tests.support.fake_host import world
from tests.support.fake_xapi import FakeXapi
from tests.support.ovs import Switch, locked

pytestmark = pytest.mark.integration

MAC, OTHER = "00:16:3e:12:34:56", "00:16:3e:65:43:21"
IPV4, IPV6 = ("192.0.2.7", "192.0.2.10"), ("fd00::1",)
LOCK = {"guest": "web", "ipv4": ",".join(IPV4), "ipv6": ",".join(IPV6)}
TO = "dl_dst=02:00:00:00:00:99"


def head(kind: str, mac: str = MAC, *more: str) -> str:
    return ",".join([kind, f"dl_src={mac}", TO, *more])


def arp(sender: str, *, mac: str = MAC, inside: str = MAC, answer: bool = False) -> str:
    return head("arp", mac, f"arp_op={1 + answer}", f"arp_spa={sender}", f"arp_sha={inside}")


def ipv4(sender: str, *more: str, mac: str = MAC, kind: str = "tcp") -> str:
    return head(kind, mac, f"nw_src={sender}", *more)


def ipv6(sender: str, *more: str, mac: str = MAC, kind: str = "tcp6") -> str:
    return head(kind, mac, f"ipv6_src={sender}", *more)


def icmp6(number: int, sender: str, *more: str, mac: str = MAC) -> str:
    return ipv6(sender, f"icmpv6_type={number}", "icmpv6_code=0", *more, mac=mac, kind="icmp6")


# said here once more, and in more ways than the procedure asks about
OWN = {
    "a DHCP request": ipv4("0.0.0.0", "udp_src=68", "udp_dst=67", kind="udp"),
    "an ARP probe": arp("0.0.0.0"),
    "an ARP request": arp("192.0.2.7"),
    "an ARP answer": arp("192.0.2.10", answer=True),
    "TCP": ipv4("192.0.2.7"),
    "UDP": ipv4("192.0.2.10", kind="udp"),
    "ICMP": ipv4("192.0.2.7", kind="icmp"),
}
OWN6 = {
    "a neighbour solicitation": icmp6(135, "fd00::1", "nd_target=fd00::9", f"nd_sll={MAC}"),
    "a neighbour advertisement": icmp6(136, "fd00::1", "nd_target=fd00::1", f"nd_tll={MAC}"),
    "an ICMPv6 echo": icmp6(128, "fd00::1"),
    "TCP by IPv6": ipv6("fd00::1"),
    "UDP by IPv6": ipv6("fd00::1", kind="udp6"),
}
SPOOFED = {
    "DHCP under another MAC": ipv4("0.0.0.0", "udp_dst=67", mac=OTHER, kind="udp"),
    "ARP under another MAC": arp("192.0.2.7", mac=OTHER, inside=OTHER),
    "ARP under another MAC, its own inside": arp("192.0.2.7", mac=OTHER),
    "TCP under another MAC": ipv4("192.0.2.7", mac=OTHER),
    "ARP that asks from another's address": arp("192.0.2.9"),
    "ARP that answers for another's address": arp("192.0.2.9", answer=True),
    "ARP with another MAC inside": arp("192.0.2.7", inside=OTHER),
    "ARP that answers with another MAC inside": arp("192.0.2.10", inside=OTHER, answer=True),
    "TCP from another's address": ipv4("192.0.2.1"),
    "TCP from an address that begins like its own": ipv4("192.0.2.107"),
    "UDP from another's address": ipv4("192.0.2.9", kind="udp"),
    "ICMP from another's address": ipv4("192.0.2.9", kind="icmp"),
    "TCP from another's address behind a VLAN's tag": ipv4("192.0.2.9", "dl_vlan=7"),
    "a DHCP server's answer": ipv4("192.0.2.9", "udp_src=67", "udp_dst=68", kind="udp"),
    "TCP from another's IPv6 address": ipv6("fd00::2"),
    "UDP from another's IPv6 address": ipv6("fd00::2", kind="udp6"),
    "ICMPv6 from another's address": icmp6(128, "fd00::2"),
    "a solicitation from another's address": icmp6(135, "fd00::2", "nd_target=fd00::9", f"nd_sll={MAC}"),
    "an advertisement from another's address": icmp6(136, "fd00::2", "nd_target=fd00::2", f"nd_tll={MAC}"),
    "an advertisement for another's address": icmp6(136, "fd00::1", "nd_target=fd00::2", f"nd_tll={MAC}"),
    "a solicitation that names another MAC": icmp6(135, "fd00::1", "nd_target=fd00::9", f"nd_sll={OTHER}"),
    "TCP by IPv6 under another MAC": ipv6("fd00::1", mac=OTHER),
    **{f"ICMPv6 {number}, as routers send": icmp6(number, "fd00::1") for number in (134, 137, 146, 147, 151, 152, 153)},
    "no protocol of the internet": head(f"dl_src={MAC}", MAC, "dl_type=0x88b5"),
}
FREE = {**OWN, **OWN6, **SPOOFED}


class Guests(FakeXapi):
    """A guest `web` on a network of this switch, run and stopped as XAPI does it; another, `db`, that says nothing
    itself. A change of a running guest's lock is followed by setup-vif-rules, as in XAPI."""

    def __init__(self, switch: Switch, bridge: str = "xenbr0") -> None:
        self.switch, self.bridge, self.names = switch, bridge, ["vif"]
        vif = {"device": "0", "network-uuid": "NET", "locking-mode": "network_default", "currently-attached": "false",
               "ipv4-allowed": "", "ipv6-allowed": ""}  # fmt: skip
        super().__init__(
            {"vm": {name: {"name-label": name, "is-control-domain": "false", "dom-id": "-1"} for name in ("web", "db")},
             "vif": {"web": {**vif, "vm-uuid": "web", "MAC": MAC}, "db": {**vif, "vm-uuid": "db", "MAC": OTHER}},
             "network": {"NET": {"default-locking-mode": "unlocked"}}},
            {"sh -c": self._really},
            {"/etc/xensource/network.conf": "openvswitch\n",
             "/etc/xensource-inventory": "PRODUCT_VERSION='8.3.0'\nINSTALLATION_UUID='HOST'\n"},
        )  # fmt: skip

    def _really(self, argv: Sequence[str]) -> str:
        done = subprocess.run(argv, env=self.switch.environment, capture_output=True, text=True, check=True)
        return done.stdout

    def _put(self, kind: str, uuid: str, name: str, value: str) -> str:
        super()._put(kind, uuid, name, value)
        if kind == "vif" and self.objects["vif"][uuid]["currently-attached"] == "true":
            for each in self.names:
                self.setup_vif_rules(uuid, each)
        return ""

    def start(self, guest: str, domain: str) -> None:
        self.objects["vm"][guest]["dom-id"] = domain
        self.objects["vif"][guest]["currently-attached"] = "true"
        for name in self.names:
            self.setup_vif_rules(guest, name)

    def stop(self, guest: str, *, clean: bool = True) -> None:
        """Not clean: the interface has gone before its rules, as it did with old releases' scripts."""
        domain = self.objects["vm"][guest]["dom-id"]
        if clean:
            self.setup_vif_rules(guest, "vif", clear=True)
        self.switch.unplug(f"vif{domain}.0")
        self.switch.gone(f"vif{domain}.0")
        self.objects["vm"][guest]["dom-id"] = "-1"
        self.objects["vif"][guest]["currently-attached"] = "false"

    def setup_vif_rules(self, guest: str, kind: str, *, clear: bool = False) -> None:
        """What the script does, in its order: rules and port go, the port comes, unless it is disabled, rules come."""
        vif, name = self.objects["vif"][guest], f"{kind}{self.objects['vm'][guest]['dom-id']}.0"
        real = self.switch.run("ovs-vsctl", "br-to-parent", self.bridge).strip()
        if port := self.switch.number(name):
            self.switch.run("ovs-ofctl", "del-flows", real, f"in_port={port},cookie=1/-1")
        self.switch.unplug(name)
        mode = str(vif["locking-mode"])
        mode = str(self.objects["network"]["NET"]["default-locking-mode"]) if mode == "network_default" else mode
        if clear or mode == "disabled":
            return
        port = self.switch.plug(self.bridge, name)
        if mode == "locked":
            allowed = [str(vif[f"{each}-allowed"]) for each in ("ipv4", "ipv6")]
            addresses = (each.split(",") if each else () for each in allowed)
            self.switch.rules(real, *locked(port, str(vif["MAC"]), *addresses))


def do(host: Guests, **options: str) -> Outcome:
    procedure = load_procedure("vif-lock")
    return Engine(world(host), sleep=lambda _: None).run("dom0", procedure, parse_options(procedure, options))


def wrong(host: Guests, **options: str) -> list[str]:
    """What of the check does not hold."""
    procedure = load_procedure("vif-lock")
    found = procedure.ways["xe"].check(world(host), host, parse_options(procedure, options or LOCK))
    return [f"{each.what}: {each.seen}" for each in found if not each.ok]


def out(host: Guests, flows: dict[str, str], last: str = OWN["a DHCP request"], by: str = "vif7.0") -> set[str]:
    """Which of these frames come out at the card and at another guest's interface, when they are sent by this one."""
    at = [each for each in ("eth0", "vif6.0") if each != by]
    return host.switch.arrived(flows, last, by=by, at=at)


@pytest.fixture
def switch(tmp_path: Path) -> Iterator[Switch]:
    """Two bridges, which count their ports for themselves, and a VLAN's, which ovs-ofctl does not know."""
    with Switch(tmp_path) as running:
        running.add_bridge("xenbr0")
        running.plug("xenbr0", "eth0")
        running.add_bridge("xapi15", "xenbr0", "15")
        running.add_bridge("xenbr1")
        running.plug("xenbr1", "vif5.0", number="9")
        running.rules("xenbr1", *locked("9", OTHER, ["192.0.2.9"], ["fd00::2"]))
        yield running


@pytest.fixture
def guests(switch: Switch) -> Guests:
    host = Guests(switch)
    host.start("db", "6")
    host.start("web", "7")
    return host


@pytest.mark.parametrize("bridge", ["xenbr0", "xapi15"])
def test_what_is_spoofed_is_dropped_until_the_lock_is_undone(switch: Switch, bridge: str) -> None:
    host = Guests(switch, bridge)
    host.start("db", "6")
    host.start("web", "7")
    free = dict(FREE) if bridge == "xenbr0" else {name: flow for name, flow in FREE.items() if "dl_vlan" not in flow}
    assert out(host, free) == set(free), "without a lock all of it passes"
    assert wrong(host)
    done = do(host, **LOCK)
    assert (done.result, wrong(host)) == ("applied", [])
    assert out(host, FREE) == {*OWN, *OWN6}
    port = switch.number("vif7.0")
    assert sorted(switch.rules("xenbr0")) == sorted(locked(port, MAC, IPV4, IPV6)), "printed as they were given"
    asked = {str(number): frame for number, frame in enumerate(frames(MAC, [*IPV4, *IPV6]))}
    fates = out(host, {number: frame.flow for number, frame in asked.items()})
    assert fates == {number for number, frame in asked.items() if frame.own}, "what the check asks about, sent"
    assert do(host, **LOCK).result == "unchanged"
    undone = Engine(world(host), sleep=lambda _: None).undo("dom0", load_procedure("vif-lock"))
    assert undone.result == "undone" and switch.rules("xenbr0") == []
    assert out(host, free) == set(free)


def test_without_ipv6_addresses_nothing_is_let_out_by_ipv6(guests: Guests) -> None:
    asked = {"guest": "web", "ipv4": LOCK["ipv4"]}
    assert (do(guests, **asked).result, wrong(guests, **asked)) == ("applied", [])
    assert out(guests, FREE) == {*OWN}


def test_xapi_lets_dhcp_out_from_any_address(guests: Guests) -> None:
    """The one way to spoof that its rules leave, as the procedure's summary says; the MAC is looked at there too."""
    do(guests, **LOCK)
    assert out(guests, {
        "from another's": ipv4("192.0.2.9", "udp_dst=67", kind="udp"),
        "under another MAC": ipv4("192.0.2.9", "udp_dst=67", mac=OTHER, kind="udp"),
    }) == {"from another's"}  # fmt: skip


def test_each_rule_is_missed(guests: Guests) -> None:
    """Without any one of them something spoofed gets out, or something own does not; the check knows."""
    do(guests, **LOCK)
    port = guests.switch.number("vif7.0")
    rules = locked(port, MAC, IPV4, IPV6)
    assert len(rules) == 21
    for rule in rules:
        guests.switch.drop("xenbr0", rule)
        last = OWN["an ARP request"] if "tp_dst=67" in rule else OWN["a DHCP request"]
        came = out(guests, FREE, last)
        opens = rule.endswith("drop")
        assert came > {*OWN, *OWN6} if opens else came < {*OWN, *OWN6}, (rule, came)
        said = wrong(guests)
        assert said and all(("passes" if opens else "dropped") in each for each in said), (rule, said)
        guests.switch.rules("xenbr0", rule)
    assert wrong(guests) == []


@pytest.mark.parametrize(("rule", "leak", "said"), [
    ("priority=9000,in_port={port} actions=NORMAL", "TCP under another MAC", "under another MAC"),
    ("priority=9000,arp actions=NORMAL", "ARP with another MAC inside", "that name another"),  # of all ports
    ("priority=6000,ip,in_port={port},dl_src={mac},nw_src=192.0.2.0/24 actions=NORMAL", "TCP from another's address",
     "send as others: priority=6000,ip,in_port={port},dl_src={mac},nw_src=192.0.2.0/24"),
    # left behind by the one who had the port before: what it may send nobody would think of asking
    ("priority=7000,arp,in_port={port},dl_src={other},arp_spa=192.0.2.77,arp_sha={other} actions=NORMAL", "",
     "send as others: priority=7000,arp,in_port={port},dl_src={other}"),
])  # fmt: skip
def test_a_rule_that_is_too_wide_is_seen(guests: Guests, rule: str, leak: str, said: str) -> None:
    do(guests, **LOCK)
    port = guests.switch.number("vif7.0")
    words = {"port": port, "mac": MAC, "other": OTHER}
    guests.switch.rules("xenbr0", rule.format(**words))
    spoofed = {**SPOOFED, "": arp("192.0.2.77", mac=OTHER, inside=OTHER)}
    assert leak in out(guests, spoofed)
    assert any(said.format(**words) in each for each in wrong(guests)), wrong(guests)


def test_after_a_restart_rules_that_are_left_behind_are_named(guests: Guests) -> None:
    do(guests, **LOCK)
    guests.stop("web")
    guests.start("web", "8")
    assert wrong(guests) == []
    assert out(guests, FREE, by="vif8.0") == {*OWN, *OWN6}
    old = guests.switch.number("vif8.0")
    guests.stop("web", clean=False)
    guests.start("web", "9")
    assert wrong(guests) == [f"rules for interfaces that are gone: {old} on xenbr0"]
    assert out(guests, FREE, by="vif9.0") == {*OWN, *OWN6}


def test_a_port_on_another_bridge_does_not_stand_in_for_one_that_is_gone(guests: Guests) -> None:
    """xenbr1 has a port 9, and its own lock."""
    do(guests, **LOCK)
    guests.switch.rules("xenbr0", "priority=4000,in_port=9 actions=drop")
    assert wrong(guests) == ["rules for interfaces that are gone: 9 on xenbr0"]


def test_a_guest_without_drivers_for_xen_is_held_by_its_second_device_too(guests: Guests) -> None:
    """QEMU sends by tap7.0 then, which has rules of its own."""
    do(guests, **LOCK)
    guests.switch.plug("xenbr0", "tap7.0")
    assert "TCP from another's address" in out(guests, SPOOFED, by="tap7.0")
    assert wrong(guests) and all("tap7.0" in each for each in wrong(guests))
    guests.setup_vif_rules("web", "tap")
    assert wrong(guests) == []
    assert out(guests, FREE, by="tap7.0") == {*OWN, *OWN6}


def test_an_interface_that_is_on_no_bridge_is_seen(guests: Guests) -> None:
    do(guests, **LOCK)
    guests.switch.run("ovs-ofctl", "del-flows", "xenbr0", "cookie=1/-1")
    guests.switch.unplug("vif7.0")
    assert wrong(guests) == ["vif7.0 is on a bridge of Open vSwitch: no"]


def test_guests_of_a_closed_network_that_are_not_locked_send_and_get_nothing(switch: Switch) -> None:
    host = Guests(switch)
    assert do(host, **LOCK, closed="true").result == "applied"
    host.start("db", "6")
    switch.plug("xenbr0", "vif6.0")  # once, so that there is a cable
    host.start("db", "6")
    host.start("web", "7")
    assert wrong(host, **LOCK, closed="true") == []
    last = f"vif7.0|{OWN['TCP']}"
    assert switch.arrived(FREE, last, by="vif6.0", at=["eth0"]) == set()
    assert switch.silent("vif6.0", MAC)
    switch.plug("xenbr0", "vif6.0")
    assert switch.arrived({"it": OWN["TCP"]}, OWN["UDP"], by="vif7.0", at=["eth0", "vif6.0"]) == {"it"}, "it can hear"
