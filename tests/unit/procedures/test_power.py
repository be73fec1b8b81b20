"""Hosts that power off, and the pool's high availability meanwhile."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from builder.procedures import load_procedure
from builder.procedures.engine import Engine, Outcome
from builder.procedures.errors import Failed, Refused
from builder.procedures.options import parse_options
from tests.support.fake_host import FakeHost, world
from tests.unit.procedures.test_xe import HOST, INVENTORY, POOL, VM

SR, VDI = "5a000000-0000-4000-8000-000000000001", "5a000000-0000-4000-8000-000000000002"


class Power(FakeHost):
    """A plain Xen host without guests that powers off when it is told to; `slow` times it is seen to be on still."""

    def __init__(self, *, slow: int = 0, stuck: bool = False) -> None:
        self.slow, self.stuck, self.enabled = slow, stuck, True
        self.told = False
        super().__init__({
            "xl list": "Name ID Mem VCPUs State Time(s)\nDomain-0 0 1024 2 r----- 1.0\n",
            "sh -c": "",
            "systemctl -q is-enabled": lambda _: "" if self.enabled else 1,
            "systemctl enable": lambda _: self._enable(True),
            "systemctl disable": lambda _: self._enable(False),
            "sh -c '(sleep 1; exec": self._off,
        })  # fmt: skip

    def _enable(self, enabled: bool) -> str:
        self.enabled = enabled
        return ""

    def _off(self, argv: Sequence[str]) -> str:
        assert argv[4:] == ["poweroff"] or tuple(argv[4:]) == ("poweroff",)
        self.told = True
        return ""

    @property
    def powered(self) -> bool:
        if self.told and self.slow:
            self.slow -= 1
            return True
        return not self.told or self.stuck

    @powered.setter
    def powered(self, on: bool) -> None:
        self.told = not on


def do(host: FakeHost, **options: str) -> Outcome:
    procedure = load_procedure("maintenance")
    return Engine(world(host), sleep=lambda _: None).run("dom0", procedure, parse_options(procedure, options))


def undo(host: FakeHost) -> Outcome:
    return Engine(world(host), sleep=lambda _: None).undo("dom0", load_procedure("maintenance"))


def test_a_host_that_was_shut_down_is_back_in_service_once_it_was_started_and_undone() -> None:
    host = Power(slow=2)
    done = do(host, then="shutdown")
    assert (done.result, done.actions[-1], done.rebooted) == ("applied", "poweroff", False)
    assert [each.what for each in done.evidence][-1] == "the machine is powered on"
    assert (host.powered, host.slow, host.enabled) == (False, 0, False)
    host.powered = True
    assert undo(host).result == "undone"
    assert host.enabled


def test_a_host_that_does_not_go_is_told() -> None:
    with pytest.raises(Failed, match="that the host powers off"):
        do(Power(stuck=True), then="shutdown")
    host = Power()
    host.answers["sh -c '(sleep 1; exec"] = 1
    with pytest.raises(Failed, match="could not be begun"):
        do(host, then="shutdown")


class Pool(FakeHost):
    """A host of a pool with high availability."""

    def __init__(self, *, hosts: int = 2, master: str = "another") -> None:
        self.state = {"enabled": "true", "vms": VM, "ha": "true", "failures": "1"}
        listed = ",".join([HOST, *(f"HOST-{n}" for n in range(1, hosts))])
        pool = f"xe pool-param-get uuid={POOL} param-name="
        super().__init__({
            f"xe host-param-get uuid={HOST} param-name=name-label": "host-1\n",
            f"xe host-param-get uuid={HOST} param-name=enabled": lambda _: self.state["enabled"] + "\n",
            "xe host-list": f"{listed}\n",
            "xe pool-list": f"{POOL}\n",
            f"{pool}ha-enabled": lambda _: self.state["ha"] + "\n",
            f"{pool}ha-statefiles": f"{VDI}; {VDI}\n",
            f"{pool}ha-host-failures-to-tolerate": lambda _: self.state["failures"] + "\n",
            f"{pool}master": f"{master}\n",
            f"xe vdi-param-get uuid={VDI} param-name=sr-uuid": f"{SR}\n",
            "xe vm-list": lambda _: self.state["vms"] + "\n",
            "xe host-disable": lambda _: self._set(enabled="false"),
            "xe host-enable": lambda _: self._set(enabled="true"),
            "xe vm-shutdown": lambda _: self._set(vms=""),
            "xe vm-start": lambda _: self._set(vms=VM),
            "xe pool-ha-disable": lambda _: self._set(ha="false", failures="0"),
            f"xe pool-ha-enable heartbeat-sr-uuids={SR}": lambda _: self._set(ha="true"),
            f"xe pool-param-set uuid={POOL} ha-host-failures-to-tolerate=1": lambda _: self._set(failures="1"),
        }, INVENTORY, dialect="xe")  # fmt: skip

    def _set(self, **changes: str) -> str:
        self.state.update(changes)
        return ""


def test_high_availability_is_off_meanwhile_and_as_before_afterwards() -> None:
    host = Pool()
    before = dict(host.state)
    done = do(host, ha="off")
    assert done.actions[0] == "xe pool-ha-disable" and done.advice == ()
    assert host.state == {"enabled": "false", "vms": "", "ha": "false", "failures": "0"}
    assert do(host, ha="off").result == "unchanged"
    assert undo(host).result == "undone"
    assert host.state == before


def test_without_asking_high_availability_stays_and_advice_is_given() -> None:
    host = Pool()
    assert "ha=off" in do(host).advice[0]
    assert host.state["ha"] == "true"
    assert undo(host).result == "undone"


def test_the_coordinator_of_others_is_not_shut_down() -> None:
    with pytest.raises(Refused, match="coordinator"):
        do(Pool(master=HOST), then="shutdown")
    procedure = load_procedure("maintenance")
    engine = Engine(world(Pool(master=HOST, hosts=1)), sleep=lambda _: None)
    planned = engine.run("dom0", procedure, parse_options(procedure, {"then": "shutdown"}), dry_run=True)
    assert planned.actions[-1] == f"xe host-shutdown uuid={HOST}"
