"""Networks of XCP-ng hosts where interfaces and cards are plugged in anew: offload of a guest's, MTU of a trunk."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from builder.errors import LabError
from builder.procedures.engine import Outcome
from builder.procedures.errors import Unproven
from tests.support.fake_xapi import FakeXapi, Fields
from tests.unit.procedures.test_network_xe import codes, do, undo
from tests.unit.procedures.test_xe import HOST, INVENTORY, VM


class Offload(FakeXapi):
    """A guest with two interfaces, which read their key when they are plugged in; `deaf` does nothing of it, `takes`
    is whether XAPI keeps the key."""

    def __init__(self, power: str = "running", *, deaf: bool = False, takes: bool = True) -> None:
        domain = "7" if power == "running" else "-1"
        self.takes, self.deaf = takes, deaf
        self.dom0 = {"vif7.0": "on", "vif7.1": "on"} if power == "running" else {}
        vifs: dict[str, Fields] = {
            uuid: {
                "vm-uuid": VM,
                "device": uuid[-1],
                "other-config": {},
                "currently-attached": str(domain == "7").lower(),
            }
            for uuid in ("VIF-0", "VIF-1")
        }
        super().__init__(
            {"vm": {VM: {"name-label": "web", "is-control-domain": "false", "dom-id": domain, "power-state": power}},
             "vif": vifs},
            {"sh -c 'xe vif-unplug": lambda argv: self._plug(argv[4]),
             "sh -c": lambda _: "".join(f"{vif} {now}\n" for vif, now in self.dom0.items())},
            INVENTORY,
        )  # fmt: skip

    def _set(self, kind: str, given: dict[str, str]) -> str:
        return super()._set(kind, given) if self.takes else ""

    def _plug(self, uuid: str) -> str:
        assert self.objects["vif"][uuid]["currently-attached"] == "true", "The device is not currently attached"
        keys = self.objects["vif"][uuid]["other-config"]
        assert isinstance(keys, dict)
        self.dom0[f"vif7.{uuid[-1]}"] = "on" if self.deaf else keys.get("ethtool-tx", "on")
        return ""


def test_a_running_guest_loses_the_offload_of_all_its_interfaces_until_undone() -> None:
    host = Offload()
    done = do(host, "vif-tx-off", guest="web")
    assert (done.result, done.advice, len(done.evidence)) == ("applied", (), 5)
    assert host.dom0 == {"vif7.0": "off", "vif7.1": "off"}
    assert do(host, "vif-tx-off", guest="web").result == "unchanged"
    assert undo(host, "vif-tx-off").result == "undone"
    assert host.dom0 == {"vif7.0": "on", "vif7.1": "on"}


def test_what_was_broken_off_between_the_key_and_the_plug_is_done_later() -> None:
    host = Offload()
    host.objects["vif"]["VIF-1"]["currently-attached"] = "false"  # somebody unplugged it: it stays so
    del host.dom0["vif7.1"]
    replug = host.answers.pop("sh -c 'xe vif-unplug")
    host.answers["sh -c 'xe vif-unplug"] = 1
    with pytest.raises(LabError):
        do(host, "vif-tx-off", guest="web")
    host.answers["sh -c 'xe vif-unplug"] = replug
    assert do(host, "vif-tx-off", guest="web").result == "applied" and host.dom0 == {"vif7.0": "off"}
    host.answers["sh -c 'xe vif-unplug"] = 1
    with pytest.raises(LabError):
        undo(host, "vif-tx-off")
    host.answers["sh -c 'xe vif-unplug"] = replug
    assert undo(host, "vif-tx-off").result == "undone" and host.dom0 == {"vif7.0": "on"}


@pytest.mark.parametrize("power", ["halted", "suspended"])
def test_a_guest_that_does_not_run_is_told_when_it_takes_effect_and_what_xapi_holds_is_looked_at(power: str) -> None:
    host = Offload(power)
    done = do(host, "vif-tx-off", guest="web")
    assert done.result == "applied" and f"web is {power}: it takes effect when the guest is started" in done.advice[0]
    assert [(each.what, each.seen) for each in done.evidence[1:]] == [
        (f"ethtool-tx of VIF {uuid} by XAPI", "off") for uuid in ("VIF-0", "VIF-1")
    ]
    with pytest.raises(Unproven, match="ethtool-tx of VIF VIF-1 by XAPI: expected off, seen unset"):
        do(Offload(power, takes=False), "vif-tx-off", guest="web")


def test_an_interface_that_keeps_its_offload_or_is_not_in_dom0_is_seen() -> None:
    with pytest.raises(Unproven, match=r"tx-checksumming of vif7\.1: expected off, seen on"):
        do(Offload(deaf=True), "vif-tx-off", guest="web")
    host = Offload()
    do(host, "vif-tx-off", guest="web")
    del host.dom0["vif7.1"]
    with pytest.raises(Unproven, match=r"tx-checksumming of vif7\.1: expected off, seen not there"):
        do(host, "vif-tx-off", guest="web")
    host.objects["vif"].clear()
    with pytest.raises(Unproven, match="interfaces of web by XAPI: expected one or more, seen 0"):
        do(host, "vif-tx-off", guest="web")


class Trunk(FakeXapi):
    """A card whose MTU, and that of its bridge, become the network's when it is plugged in."""

    def __init__(self, *, management: str = "false", plugged: bool = False, vlan: str = "", ip: str = "") -> None:
        self.kernel = "1500"
        pif = {"host-uuid": HOST, "device": "eth1", "VLAN": "-1", "network-uuid": "NET", "management": management,
               "MTU": "1500", "IP": ip, "currently-attached": "true"}  # fmt: skip
        tagged = {**pif, "VLAN": "10", "network-uuid": "NET-10", "management": vlan}
        vif = {"network-uuid": "NET", "currently-attached": str(plugged).lower()}
        super().__init__(
            {
                "pif": {"PIF": dict(pif), **({"PIF-10": dict(tagged)} if vlan else {})},
                "vif": {"VIF": dict(vif)},
                "network": {"NET": {"bridge": "xenbr1", "MTU": "1500"}},
            },
            {
                "xe pif-unplug": lambda _: self._attach("false"),
                "xe pif-plug": lambda _: self._plug(),
                "cat /sys/class/net/": lambda _: f"{self.kernel}\n",
            },
            INVENTORY,
        )

    def _plug(self) -> str:
        self.kernel = str(self.objects["network"]["NET"]["MTU"])
        self.objects["pif"]["PIF"]["MTU"] = self.kernel
        return self._attach("true")

    def _attach(self, attached: str) -> str:
        self.objects["pif"]["PIF"]["currently-attached"] = attached
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
    assert codes(Trunk(vlan="true"), "vlan-trunk", card="eth1") == ["management"]
    assert codes(Trunk(vlan="false", ip="192.0.2.9"), "vlan-trunk", card="eth1") == ["has-address"]
    with pytest.raises(LabError, match="no card eth7"):
        do(Trunk(), "vlan-trunk", card="eth7")


@pytest.mark.parametrize("broken", ["xe pif-unplug", "xe pif-plug"])
def test_a_card_that_was_not_plugged_in_again_is_by_the_next_run(broken: str) -> None:
    host = Trunk()
    steps: list[Callable[[], Outcome]] = [
        lambda: do(host, "vlan-trunk", card="eth1"), lambda: undo(host, "vlan-trunk")
    ]  # fmt: skip
    for step in steps:
        kept = host.answers[broken]
        host.answers[broken] = 1
        with pytest.raises(LabError):
            step()
        host.answers[broken] = kept
        assert step().result in {"applied", "undone"}
        assert host.objects["pif"]["PIF"]["currently-attached"] == "true"
    assert host.kernel == "1500"
    host.objects["pif"]["PIF"]["currently-attached"] = "false"
    assert do(host, "vlan-trunk", card="eth1").result == "applied"
    assert undo(host, "vlan-trunk").result == "undone"
    assert host.objects["pif"]["PIF"]["currently-attached"] == "false"
