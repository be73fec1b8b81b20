"""Networks of XCP-ng hosts: locked interfaces, a trunk for a router guest; and guests that nest."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from builder.errors import LabError, UsageError
from builder.procedures import load_procedure
from builder.procedures.engine import Engine, Outcome
from builder.procedures.errors import Refused, Unproven
from builder.procedures.options import parse_options
from builder.procedures.vif_lock import frames
from tests.support.fake_host import FakeHost, world
from tests.support.fake_xapi import FakeXapi, Fields
from tests.support.ovs import locked
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


COUNTERS = " cookie=0x1, duration=1.105s, table=0, n_packets=0, n_bytes=0, idle_age=1, "
# ovs-ofctl knows real bridges only: the one of a VLAN is told with what ovs-vsctl lists, and is an error to it. Traces
# are as Open vSwitch 2.5.3 prints them (ofproto_trace in its ofproto-dpif.c); later ones have the last line alike.
TOOLS = {
    "ovs-vsctl": '[ "$*" = list-br ] && printf "xapi15\\nxenbr0\\nxenbr1\\n"\n',
    "ovs-ofctl": '[ -e "$0.$1.$2" ] || { echo "ovs-ofctl: $2 is not a bridge or a socket" >&2; exit 1; }\n'
    'cat "$0.$1.$2"\n',
    "ovs-appctl": '[ "$1 $2" = "ofproto/trace xenbr0" ] || { echo "Unknown bridge name" >&2; exit 2; }\n'
    'grep -qxF -- "$3" "$0.passes" && to=2 || to=drop\n'
    r'printf "Bridge: %s\nFlow: %s\n\nRule: table=0 cookie=0x1 priority=7\nOpenFlow actions=%s\n\n" "$2" "$3" $to; '
    r'printf "Final flow: unchanged\nMegaflow: recirc_id=0,in_port=3\nDatapath actions: %s\n" $to' + "\n",
}


class Switched(FakeXapi):
    """A guest with one interface, on port 3 of xenbr0, and beside it one of another guest on port 3 of xenbr1, which
    has the same addresses. Open vSwitch's tools print what is said above; the shell that asks them is really run.

    What its lock does with frames is shown by a real switch (tests/integration/test_vif_lock_frames.py): here it drops
    what is spoofed, without reading rules. `port` is how rules name the guest's port; `more` are rules beside the
    lock's, `leaks` and `holds` parts of frames that it lets out or drops all the same.
    """

    def __init__(self, *, backend: str = "openvswitch", domain: str = "7", mode: str = "network_default") -> None:
        self.port, self.more, self.leaks, self.holds = "3", "", "nothing", "nothing"
        self._tools = TemporaryDirectory()
        vif = {"vm-uuid": VM, "device": "0", "network-uuid": "NET", "MAC": MAC.upper(), "locking-mode": mode,
               "ipv4-allowed": "", "ipv6-allowed": "", "currently-attached": str(domain == "7").lower()}  # fmt: skip
        super().__init__(
            {"vm": {VM: {"name-label": "web", "is-control-domain": "false", "dom-id": domain}},
             "vif": {"VIF": dict(vif)}, "network": {"NET": {"default-locking-mode": "unlocked"}}},
            {"sh -c": self._asked},
            {**INVENTORY, "/etc/xensource/network.conf": f"{backend}\n"},
        )  # fmt: skip

    def _asked(self, argv: Sequence[str]) -> str:
        vif = self.objects["vif"]["VIF"]
        ipv4, ipv6 = (
            str(vif[f"{name}-allowed"]).split(",") if vif[f"{name}-allowed"] else () for name in ("ipv4", "ipv6")
        )
        own = locked(self.port, MAC, ipv4, ipv6) if vif["locking-mode"] == "locked" else []
        other = locked("3", "00:16:3e:00:00:06", ["192.0.2.7", "192.0.2.10"], ["fd00::1"])
        more = [self.more] if self.more else []
        self._bridge("xenbr0", {"1": "xapi15", "2": "eth0", "3": "vif7.0"}, [*own, *more])
        self._bridge("xenbr1", {"1": "eth1", "3": "vif6.0", "9": "vif6.1"}, other)
        out = [frame.flow for frame in frames(MAC, [*ipv4, *ipv6])
               if (frame.own or not own or self.leaks in frame.flow) and self.holds not in frame.flow]  # fmt: skip
        Path(f"{self._tools.name}/ovs-appctl.passes").write_text("".join(f"in_port=3,{flow}\n" for flow in out))
        for name, script in TOOLS.items():
            (Path(self._tools.name) / name).write_text(f"#!/bin/sh\n{script}")
            (Path(self._tools.name) / name).chmod(0o755)
        done = subprocess.run(argv, env={"PATH": f"{self._tools.name}:/usr/bin:/bin"}, capture_output=True, text=True,
                              check=True)  # fmt: skip
        return done.stdout

    def _bridge(self, name: str, ports: Mapping[str, str], rules: Sequence[str]) -> None:
        tool = f"{self._tools.name}/ovs-ofctl"
        about = "     config:     0\n     state:      0\n     speed: 0 Mbps now, 0 Mbps max\n"
        Path(f"{tool}.show.{name}").write_text(
            "OFPT_FEATURES_REPLY (xid=0x2): dpid:0000769d96fe954a\nn_tables:254, n_buffers:0\n"
            + "".join(f" {number}({port}): addr:aa:55:aa:55:00:11\n{about}" for number, port in ports.items())
            + f" LOCAL({name}): addr:76:9d:96:fe:95:4a\n{about}"
            "OFPT_GET_CONFIG_REPLY (xid=0x4): frags=normal miss_send_len=0\n"
        )
        Path(f"{tool}.dump-flows.{name}").write_text(
            "NXST_FLOW reply (xid=0x4):\n"
            + "".join(f"{COUNTERS}{rule}\n" for rule in [*rules, "priority=0 actions=NORMAL"])
        )


LOCK: Mapping[str, str] = {"guest": "web", "ipv4": "192.0.2.7,192.0.2.10", "ipv6": "fd00::1"}


@pytest.mark.parametrize(("domain", "port"), [("7", "3"), ("7", '"vif7.0"'), ("-1", "3"), ("<not in database>", "3")])
@pytest.mark.parametrize("mode", ["network_default", "unlocked"])
def test_an_interface_is_held_to_its_addresses_until_undone(domain: str, port: str, mode: str) -> None:
    host = Switched(domain=domain, mode=mode)
    host.port = port
    before = {kind: {uuid: dict(fields) for uuid, fields in own.items()} for kind, own in host.objects.items()}
    done = do(host, "vif-lock", **LOCK)
    assert done.result == "applied" and len(done.evidence) == (16 if domain == "7" else 1)
    assert do(host, "vif-lock", **LOCK).result == "unchanged"
    assert do(host, "vif-lock", guest="web", ipv4="192.0.2.7").result == "applied"
    assert host.objects["vif"]["VIF"]["ipv6-allowed"] == ""
    assert undo(host, "vif-lock").result == "undone"
    assert host.objects == before


def test_a_network_is_closed_while_nobody_is_on_it_until_undone() -> None:
    assert codes(Switched(), "vif-lock", **LOCK, closed="true") == ["network-in-use"]
    host = Switched(domain="-1")
    before = {kind: {uuid: dict(fields) for uuid, fields in own.items()} for kind, own in host.objects.items()}
    assert do(host, "vif-lock", **LOCK, closed="true").result == "applied"
    assert host.objects["network"]["NET"]["default-locking-mode"] == "disabled"
    host.objects["vif"]["VIF"]["currently-attached"] = "true"  # a guest starts: it is closed already
    assert do(host, "vif-lock", **LOCK, closed="true").result == "unchanged"
    host.objects["vif"]["VIF"]["currently-attached"] = "false"
    assert undo(host, "vif-lock").result == "undone"
    assert host.objects == before


def test_xapi_that_does_not_open_the_network_again_leaves_the_lock() -> None:
    host = Switched(domain="-1")
    do(host, "vif-lock", **LOCK, closed="true")
    host.answers["xe network-param-set"] = 1
    with pytest.raises(LabError, match="network-param-set"):
        undo(host, "vif-lock")
    assert host.objects["vif"]["VIF"]["locking-mode"] == "locked"


def missed(host: Switched) -> list[str]:
    """What of the evidence does not hold."""
    with pytest.raises(Unproven) as caught:
        do(host, "vif-lock", **LOCK)
    return [f"{each.what}: {each.seen}" for each in caught.value.evidence if not each.ok]


def test_frames_that_fare_otherwise_are_named_by_their_kind() -> None:
    host = Switched()
    host.leaks, host.holds = "icmpv6_type=137", "arp_spa=192.0.2.10"
    assert [each.rpartition(": ")[2] for each in missed(host)] == ["ARP dropped", "ICMPv6 137 passes"]


def test_a_switch_that_does_not_answer_proves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TOOLS, "ovs-appctl", "exit 2\n")
    said = missed(Switched())
    assert len(said) == 12 and all("no answer" in each for each in said)


@pytest.mark.parametrize("rule", [
    "priority=6000,ip,in_port=3,dl_src={mac},nw_src=192.0.2.1", "priority=6000,ip,in_port=3,nw_src=192.0.2.7",
    "priority=7000,arp,in_port=3,dl_src=00:16:3e:00:00:01,arp_spa=192.0.2.7", "priority=9000,in_port=3,dl_src={mac}",
    "priority=8000,udp,in_port=3,dl_src={mac}",
])  # fmt: skip
def test_a_rule_that_lets_out_more_than_the_lock_is_seen(rule: str) -> None:
    host = Switched()
    match = rule.format(mac=MAC)
    host.more = f"{match} actions=NORMAL"
    assert missed(host) == [f"rules that let vif7.0 send as others: {match}"]
    host.more = f"{match} actions=drop"
    assert do(host, "vif-lock", **LOCK).result == "unchanged"


@pytest.mark.parametrize(("left", "seen"), [
    ("9", "9 on xenbr0"), ('"vif6.0"', "vif6.0 on xenbr0"),  # both are there, on the other bridge
])  # fmt: skip
def test_rules_that_are_left_behind_are_seen(left: str, seen: str) -> None:
    host = Switched()
    host.more = f"priority=4000,in_port={left} actions=drop"
    assert missed(host) == [f"rules for interfaces that are gone: {seen}"]


def test_what_a_lock_needs() -> None:
    assert codes(Switched(backend="bridge"), "vif-lock", **LOCK) == ["bridge-backend"]
    assert codes(Switched(), "vif-lock", guest="web") == ["no-address"]
    assert codes(Switched(), "vif-lock", **LOCK, device="3") == ["no-vif"]
    for wrong in ({"ipv4": "fd00::1"}, {"ipv6": "192.0.2.1"}, {"ipv4": "web"}):
        with pytest.raises(UsageError):
            do(Switched(), "vif-lock", guest="web", **wrong)


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


@pytest.mark.parametrize(
    "line", ["", "nestedhvm = 0\n", "nestedhvm=0 # no\nmemory=64", " nestedhvm=0\nnestedhvm = '0'\n"]
)
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
