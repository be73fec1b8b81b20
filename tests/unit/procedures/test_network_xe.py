"""Networks of XCP-ng hosts: locked interfaces, a trunk for a router guest; and guests that nest."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from builder.errors import LabError, UsageError
from builder.procedures import load_procedure
from builder.procedures.engine import Engine, Outcome
from builder.procedures.errors import Refused, Unproven
from builder.procedures.options import parse_options
from tests.support.fake_host import FakeHost, world
from tests.support.fake_xapi import FakeXapi, Fields
from tests.unit.procedures.test_xe import HOST, INVENTORY, VM

MAC = "00:16:3e:12:34:56"


def do(host: FakeHost, name: str, **options: str) -> Outcome:
    procedure = load_procedure(name)
    return Engine(world(host), sleep=lambda _: None).run("dom0", procedure, parse_options(procedure, options))


def undo(host: FakeHost, name: str) -> Outcome:
    return Engine(world(host), sleep=lambda _: None).undo("dom0", load_procedure(name))


def codes(host: FakeHost, name: str, **options: str) -> list[str]:
    with pytest.raises(Refused) as caught:
        do(host, name, **options)
    assert host.changes == []
    return [refusal.code for refusal in caught.value.refusals]


class Switched(FakeXapi):
    """A guest with one interface; Open vSwitch has the rules that setup-vif-rules makes for it, and leaves some."""

    def __init__(self, *, backend: str = "openvswitch", domain: str = "7", mode: str = "network_default") -> None:
        self.left_behind = self.forgets = False
        vif = {"vm-uuid": VM, "device": "0", "network-uuid": "NET", "MAC": MAC.upper(), "locking-mode": mode,
               "ipv4-allowed": "", "ipv6-allowed": ""}  # fmt: skip
        super().__init__(
            {"vm": {VM: {"name-label": "web", "is-control-domain": "false", "dom-id": domain}},
             "vif": {"VIF": dict(vif)}, "network": {"NET": {"default-locking-mode": "unlocked"}}},
            {"sh -c": lambda _: self._flows()},
            {**INVENTORY, "/etc/xensource/network.conf": f"{backend}\n"},
        )  # fmt: skip

    def _flows(self) -> str:
        rows = ["port 1 eth0", "port 3 vif7.0", "flow priority=0 actions=NORMAL"]
        vif = self.objects["vif"]["VIF"]
        if vif["locking-mode"] == "locked" and not self.forgets:
            start = f"flow priority=8000,in_port=3,dl_src={MAC}"
            for word in filter(None, str(vif["ipv4-allowed"]).split(",")):
                rows += [f"{start},arp,arp_spa={word} actions=NORMAL", f"{start},ip,nw_src={word} actions=NORMAL"]
            rows += [
                f"{start},ipv6,ipv6_src={word} actions=NORMAL"
                for word in filter(None, str(vif["ipv6-allowed"]).split(","))
            ]
            rows.append("flow priority=7000,in_port=3, actions=drop")
        if self.left_behind:
            rows.append("flow priority=8000,in_port=9,dl_src=00:16:3e:00:00:09 actions=NORMAL")
        return "\n".join(rows) + "\n"


LOCK: Mapping[str, str] = {"guest": "web", "ipv4": "192.0.2.7,192.0.2.10", "ipv6": "fd00::1"}


@pytest.mark.parametrize("domain", ["7", "-1", "<not in database>"])
@pytest.mark.parametrize("mode", ["network_default", "unlocked"])
def test_an_interface_is_held_to_its_addresses_until_undone(domain: str, mode: str) -> None:
    host = Switched(domain=domain, mode=mode)
    before = {kind: {uuid: dict(fields) for uuid, fields in own.items()} for kind, own in host.objects.items()}
    done = do(host, "vif-lock", **LOCK, closed="true")
    assert done.result == "applied" and len(done.evidence) == (8 if domain == "7" else 2)
    assert host.objects["network"]["NET"]["default-locking-mode"] == "disabled"
    assert do(host, "vif-lock", **LOCK, closed="true").result == "unchanged"
    assert do(host, "vif-lock", guest="web", ipv4="192.0.2.7", closed="true").result == "applied"
    assert host.objects["vif"]["VIF"]["ipv6-allowed"] == ""
    assert undo(host, "vif-lock").result == "undone"
    assert host.objects == before


def test_rules_that_are_missing_or_left_behind_are_seen() -> None:
    host = Switched()
    host.forgets = True
    with pytest.raises(Unproven, match="let 192.0.2.7 out: expected one or more, seen 0".replace(".", r"\.")):
        do(host, "vif-lock", **LOCK)
    host = Switched()
    host.left_behind = True
    with pytest.raises(Unproven, match="rules for interfaces that are gone: expected none, seen 9"):
        do(host, "vif-lock", **LOCK)


def test_what_a_lock_needs() -> None:
    assert codes(Switched(backend="bridge"), "vif-lock", **LOCK) == ["bridge-backend"]
    assert codes(Switched(), "vif-lock", guest="web") == ["no-address"]
    assert codes(Switched(), "vif-lock", **LOCK, device="3") == ["no-vif"]
    for wrong in ({"ipv4": "fd00::1"}, {"ipv6": "192.0.2.1"}, {"ipv4": "web"}):
        with pytest.raises(UsageError):
            do(Switched(), "vif-lock", guest="web", **wrong)


class Trunk(FakeXapi):
    """A card whose MTU, and that of its bridge, become the network's when it is plugged in."""

    def __init__(self, *, management: str = "false", plugged: bool = False) -> None:
        self.kernel = "1500"
        pif = {"host-uuid": HOST, "device": "eth1", "VLAN": "-1", "network-uuid": "NET", "management": management,
               "MTU": "1500"}  # fmt: skip
        vif = {"network-uuid": "NET", "currently-attached": str(plugged).lower()}
        super().__init__(
            {
                "pif": {"PIF": dict(pif)},
                "vif": {"VIF": dict(vif)},
                "network": {"NET": {"bridge": "xenbr1", "MTU": "1500"}},
            },
            {
                "xe pif-unplug": "",
                "xe pif-plug": lambda _: self._plug(),
                "cat /sys/class/net/": lambda _: f"{self.kernel}\n",
            },
            INVENTORY,
        )

    def _plug(self) -> str:
        self.kernel = str(self.objects["network"]["NET"]["MTU"])
        self.objects["pif"]["PIF"]["MTU"] = self.kernel
        return ""


def test_a_trunk_carries_tags_until_undone() -> None:
    host = Trunk()
    assert do(host, "vlan-trunk", card="eth1").result == "applied"
    assert host.kernel == "1504"
    assert do(host, "vlan-trunk", card="eth1").result == "unchanged"
    assert undo(host, "vlan-trunk").result == "undone"
    assert host.kernel == "1500"


def test_a_trunk_that_would_cut_somebody_off_is_refused() -> None:
    assert codes(Trunk(management="true", plugged=True), "vlan-trunk", card="eth1") == ["management", "guests-on-it"]
    with pytest.raises(LabError, match="no card eth7"):
        do(Trunk(), "vlan-trunk", card="eth7")


class Nesting(FakeXapi):
    """A guest that is shut down, on a host of a release."""

    def __init__(self, release: str, *, power: str = "halted", low: int = 1) -> None:
        guest: Fields = {
            "name-label": "web",
            "is-control-domain": "false",
            "power-state": power,
            "platform": {"nic_type": "rtl8139"},
            "memory-dynamic-min": str(low << 30),
            "memory-dynamic-max": str(2 << 30),
            "memory-static-max": str(2 << 30),
        }
        super().__init__(
            {"vm": {VM: dict(guest)}}, {"xe vm-memory-dynamic-range-set": lambda argv: self._range(argv[3:])},
            {"/etc/xensource-inventory": f"PRODUCT_VERSION='{release}'\nINSTALLATION_UUID='{HOST}'\n"},
        )  # fmt: skip

    def _range(self, words: object) -> str:
        assert isinstance(words, list | tuple)
        given = dict(word.split("=") for word in words)
        self.objects["vm"][VM] |= {"memory-dynamic-min": given["min"], "memory-dynamic-max": given["max"]}
        return ""


@pytest.mark.parametrize(("release", "key"), [("8.2.1", "exp-nested-hvm"), ("8.3.0", "nested-virt")])
def test_a_guest_nests_by_the_key_of_its_release_until_undone(release: str, key: str) -> None:
    host = Nesting(release)
    assert do(host, "nested-virt", guest="web").result == "applied"
    guest = host.objects["vm"][VM]
    assert guest["platform"] == {key: "true", "nic_type": "e1000"} and guest["memory-dynamic-min"] == str(2 << 30)
    assert do(host, "nested-virt", guest="web").result == "unchanged"
    assert undo(host, "nested-virt").result == "undone"
    assert guest["platform"] == {"nic_type": "rtl8139"} and guest["memory-dynamic-min"] == str(1 << 30)
    assert do(host, "nested-virt", guest="web", enable="false").result == "unchanged"


def test_a_running_guest_is_left_alone() -> None:
    assert codes(Nesting("8.3.0", power="running"), "nested-virt", guest="web") == ["running"]


class Plain(FakeHost):
    """A plain Xen host with an HVM guest's configuration, which xl reads."""

    def __init__(self, kind: str = "hvm", *, caps: str = "pv hvm", runs: bool = False, line: str = "") -> None:
        path = "/etc/xen/web.cfg"
        super().__init__({
            "sh -c 'set -- /etc/xen/*": f'{path}:name = "web"\n',
            "xl list": "Name ID Mem VCPUs State Time(s)\nDomain-0 0 1024 2 r----- 1.0\n"
            + "web 3 64 1 -b---- 1.0\n" * runs,
            "xl info": f"virt_caps : {caps}\n",
            "xl create --dryrun": lambda argv: json.dumps(
                {"b_info": {"nested_hvm": "True"} if "nestedhvm = 1" in self.files[argv[4]].decode() else {}}),
        }, {path: f'name = "web"\ntype = "{kind}"\n{line}'})  # fmt: skip


@pytest.mark.parametrize("line", ["", "nestedhvm = 0\n", "nestedhvm=0 # no\n"])
def test_a_configuration_nests_until_undone(line: str) -> None:
    host = Plain(line=line)
    before = host.files["/etc/xen/web.cfg"]
    host.modes["/etc/xen/web.cfg"] = 0o600  # it may hold a password for the guest's screen
    assert do(host, "nested-virt", guest="web").result == "applied"
    assert host.files["/etc/xen/web.cfg"].decode().count("nestedhvm") == 1
    assert host.modes["/etc/xen/web.cfg"] == 0o600
    assert do(host, "nested-virt", guest="web").result == "unchanged"
    assert undo(host, "nested-virt").result == "undone"
    assert (host.files["/etc/xen/web.cfg"], host.modes["/etc/xen/web.cfg"]) == (before, 0o600)


def test_guests_and_hosts_that_cannot_nest() -> None:
    host = Plain("pvh", caps="pv", runs=True)
    assert codes(host, "nested-virt", guest="web") == ["not-hvm", "running", "no-hvm"]
    with pytest.raises(LabError, match="has the name db"):
        do(Plain(), "nested-virt", guest="db")
