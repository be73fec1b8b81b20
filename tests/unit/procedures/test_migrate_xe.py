"""Guests that go to another host of XAPI, of the same pool or of another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from builder.procedures import load_procedure
from builder.procedures.engine import Engine, Outcome
from builder.procedures.errors import Refused
from builder.procedures.options import parse_options
from tests.support.fake_host import FakeHost, world

UUID = {"alpha": "a1fa0000-0000-4000-8000-000000000001", "beta": "be7a0000-0000-4000-8000-000000000001"}
VM = "4f9b2c5e-0000-4000-8000-000000000003"
PASSWORD = "/root/pw"


class Pools:
    """One pool of two hosts, or two pools of one: where the guest is, and what was said to bring it there."""

    def __init__(self, *, two: bool) -> None:
        self.two, self.where, self.power, self.nested, self.free = two, "alpha", "running", "", 4 << 30
        self.storage, self.label, self.master = "SR-beta", "lan", "" if two else "alpha"
        self.lan = {"alpha": "NET-alpha", "beta": "NET-beta"}
        self.calls: list[dict[str, str]] = []
        self.hosts = [self._host("alpha"), self._host("beta")]

    def _host(self, name: str) -> FakeHost:
        pool = f"POOL-{name}" if self.two else "POOL"
        of_vm = {"power-state": lambda: self.power, "resident-on": lambda: UUID[self.where],
                 "memory-static-max": lambda: str(1 << 30)}  # fmt: skip
        answers: dict[str, Any] = {
            "xe vm-list": lambda _: f"{VM}\n" if not self.two or self.where == name else "\n",
            **{f"xe vm-param-get uuid={VM} param-name={key}": lambda _, value=value: f"{value()}\n"
               for key, value in of_vm.items()},
            f"xe vm-param-get uuid={VM} param-name=platform param-key=nested-virt": lambda _: f"{self.nested}\n",
            f"xe vbd-list vm-uuid={VM} type=Disk params=userdevice": "1,0\n",
            f"xe vbd-list vm-uuid={VM} type=Disk params=vdi-uuid": lambda _: f"VDI1-{self.where},VDI0-{self.where}\n",
            "xe vdi-param-get": "SR-alpha\n",
            f"xe vif-list vm-uuid={VM} params=device": "0\n",
            f"xe vif-list vm-uuid={VM} params=uuid": lambda _: f"VIF-{self.where}\n",
            f"xe vif-list vm-uuid={VM} params=network-name-label": lambda _: f"{self.label}\n",
            f"xe vif-list vm-uuid={VM} params=network-uuid": lambda _: f"{self.lan[self.where]}\n",
            "xe pool-list": f"{pool}\n",
            f"xe pool-param-get uuid={pool} param-name=default-SR": lambda _: f"{self.storage}\n",
            f"xe pool-param-get uuid={pool} param-name=master": lambda _: f"{UUID[self.master or name]}\n",
            f"xe host-param-get uuid={UUID['alpha']} param-name=address": "198.51.100.1\n",
            "xe network-list name-label=lan": lambda _: f"{self.lan[name]}\n",
            f"xe host-param-get uuid={UUID[name]} param-name=memory-free": lambda _: f"{self.free}\n",
            "xe vm-migrate": lambda argv: self._migrate(argv[2:]),
            "sh -c 'exec xe": lambda argv: self._migrate([*argv[5:], f"password={argv[3]}"]),
        }  # fmt: skip
        inventory = f"INSTALLATION_UUID='{UUID[name]}'\n"
        return FakeHost(answers, {"/etc/xensource-inventory": inventory}, dialect="xe", name=name)

    def _migrate(self, words: Sequence[str]) -> str:
        given = dict(word.split("=", 1) for word in words)
        self.calls.append(given)
        self.where = next(name for name, uuid in UUID.items() if uuid == given["host-uuid"])
        return ""

    def do(self, **options: str) -> Outcome:
        procedure = load_procedure("guest-migrate")
        asked = parse_options(procedure, {"guest": "web", "to": "beta", **options})
        return Engine(world(*self.hosts), sleep=lambda _: None).run("alpha", procedure, asked)

    def undo(self) -> Outcome:
        return Engine(world(*self.hosts), sleep=lambda _: None).undo("alpha", load_procedure("guest-migrate"))


def test_within_a_pool_it_goes_and_comes_back() -> None:
    pools = Pools(two=False)
    assert pools.do().result == "applied" and pools.where == "beta"
    assert pools.do().result == "unchanged"
    assert pools.undo().result == "undone" and pools.where == "alpha"
    assert pools.calls == [{"uuid": VM, "host-uuid": UUID[name], "live": "true"} for name in ("beta", "alpha")]


def test_between_pools_each_disk_and_card_is_told_where_to_go() -> None:
    pools = Pools(two=True)
    done = pools.do(password_file=PASSWORD, via="10.20.0.2")
    assert done.result == "applied" and pools.where == "beta"
    assert pools.calls[0] == {
        "uuid": VM, "remote-master": "10.20.0.2", "remote-username": "root", "password": PASSWORD, "live": "true",
        "host-uuid": UUID["beta"], "vdi:VDI0-alpha": "SR-beta", "vdi:VDI1-alpha": "SR-beta",
        "vif:VIF-alpha": "NET-beta",
    }  # fmt: skip
    assert pools.do(password_file=PASSWORD).result == "unchanged"
    assert pools.undo().result == "undone" and pools.where == "alpha"
    assert pools.calls[1] == {
        "uuid": VM, "remote-master": "alpha", "remote-username": "root", "password": PASSWORD, "live": "true",
        "host-uuid": UUID["alpha"], "vdi:VDI0-beta": "SR-alpha", "vdi:VDI1-beta": "SR-alpha",
        "vif:VIF-beta": "NET-alpha",
    }  # fmt: skip


@pytest.mark.parametrize("two", [True, False])
def test_a_network_may_have_any_name(two: bool) -> None:
    """With --minimal XAPI puts a backslash before a comma, and before a backslash (cli_printer.ml: escape_commas)."""
    pools = Pools(two=two)
    pools.label = r"a\, b\\"
    pools.hosts[1].answers |= {"xe network-list name-label=": "\n", "xe network-list 'name-label=a, b\\'": "NET-x\n"}
    assert pools.do(password_file=PASSWORD).result == "applied"
    assert ("vif:VIF-alpha" in pools.calls[0]) is two


def test_within_a_pool_disks_may_go_to_another_storage_as_well() -> None:
    pools = Pools(two=False)
    assert pools.do(storage="copy", password_file=PASSWORD).result == "applied"
    # beta is not the coordinator: XAPI there would answer HOST_IS_SLAVE
    assert pools.calls[0]["remote-master"] == "198.51.100.1"
    assert "vdi:VDI0-alpha" in pools.calls[0] and not [key for key in pools.calls[0] if key.startswith("vif:")]
    assert pools.undo().result == "undone" and pools.calls[1]["remote-master"] == "alpha"


@pytest.mark.parametrize(("changes", "two", "codes"), [
    ({}, True, ["no-password"]),
    ({"power": "halted"}, False, ["not-running"]),
    ({"nested": "true", "free": 1}, False, ["nested", "no-memory"]),
    ({"storage": "<not in database>"}, True, ["no-password", "no-storage"]),
    ({"lan": {"alpha": "NET-alpha", "beta": ""}}, False, ["no-network"]),
])  # fmt: skip
def test_reasons_against_it(changes: dict[str, object], two: bool, codes: list[str]) -> None:
    pools = Pools(two=two)
    for name, value in changes.items():
        setattr(pools, name, value)
    with pytest.raises(Refused) as caught:
        pools.do()
    assert [refusal.code for refusal in caught.value.refusals] == codes
    assert pools.calls == []


def test_another_guest_of_the_name_and_other_hosts_are_a_reason() -> None:
    pools = Pools(two=True)
    pools.hosts[1].answers["xe vm-list"] = f"{VM}\n"
    with pytest.raises(Refused, match="runs-there"):
        pools.do(password_file=PASSWORD)
    pools.hosts[1].dialect = "xl"
    with pytest.raises(Refused, match="other-kind"):
        pools.do()
    procedure = load_procedure("guest-migrate")
    way = procedure.ways["xe"]
    itself = way.sample.model_copy(update={"target": way.sample.host})
    assert [r.code for r in way.refusals(itself, parse_options(procedure, {"guest": "w", "to": "a"}))] == ["same-host"]
