"""What is known here of a lab on another machine, without that machine: see integration/test_remote.py."""

from __future__ import annotations

import time
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from builder.drivers.ssh_l0 import FarUri
from builder.errors import UsageError
from builder.hypervisors.kvm import domain_xml
from builder.lifecycle.down import down
from builder.lifecycle.effects import Effects
from builder.lifecycle.far import (
    Far,
    client_of,
    id_there,
    is_elsewhere,
    owner_of,
    read_record,
    remove_record,
    write_record,
)  # fmt: skip
from builder.lifecycle.state import LabFolder
from builder.lifecycle.there import with_terminal
from builder.paths import Places, locked
from tests.support.kvm_cases import CASES

URI = FarUri.parse("qemu+ssh://root@l0/system")


@pytest.fixture
def places(tmp_path: Path) -> Places:
    made = Places(tmp_path / "state", tmp_path / "cache", tmp_path / "run")
    made.lab("x").mkdir(parents=True)
    return made


def test_a_lab_of_the_same_name_of_somebody_else_is_another(places: Places, tmp_path: Path) -> None:
    other = Places(tmp_path / "other", places.cache, places.runtime)
    assert id_there(places, "x") == id_there(places, "x") != id_there(other, "x")
    assert client_of(places) != client_of(other)
    assert (places.state / "client").stat().st_mode & 0o777 == 0o600


def test_where_a_lab_is_outlives_its_keeper(places: Places) -> None:
    assert read_record(places, "x") is None
    write_record(places, "x", URI)
    assert is_elsewhere(places, "x") and read_record(places, "x") == URI
    remove_record(places, "x")
    remove_record(places, "x")
    assert not is_elsewhere(places, "x")


def test_a_lab_stays_where_it_is(places: Places) -> None:
    write_record(places, "x", URI)
    effects = Effects(places, "x", LabFolder(places, "x"), lambda *_, **__: None)
    for connect in ("qemu:///system", "qemu+ssh://root@other/system", "qemu+ssh://root@l0/session"):
        with pytest.raises(UsageError, match="lab x runs on qemu\\+ssh://root@l0/system") as caught:
            effects._at(connect, 0)
        assert caught.value.hint == "nestlab down x first"


def test_one_that_runs_here_does_not_move(places: Places) -> None:
    effects = Effects(places, "x", LabFolder(places, "x"), lambda *_, **__: None)
    here = effects._at(None, 0)
    try:
        assert effects._at(None, 0) is here
        with pytest.raises(UsageError, match="lab x runs on this machine"):
            effects._at(URI.text, 0)
    finally:
        effects.close()


def test_a_record_that_nobody_can_read_does_not_keep_the_lab(places: Places) -> None:
    (places.lab("x") / "l0.json").write_text("{torn")
    assert down("x", places, listener=lambda _: None) is True
    assert not places.lab("x").exists()


class FarOf:
    """The other machine: the labs that it has, and those that were taken away."""

    def __init__(self, *labs: dict[str, Any]) -> None:
        self.labs = list(labs)
        self.gone: list[str] = []
        self.outpost = self

    def ask(self, op: str, **_: Any) -> Any:
        assert op in ("labs", "open")
        return self.labs

    def take_away(self, lab: str) -> None:
        self.gone.append(lab)


def test_only_labs_without_a_keeper_are_reaped(places: Places, tmp_path: Path) -> None:
    stranger = owner_of(Places(tmp_path / "other", places.cache, places.runtime), "x", 0)
    past = stranger | {"expires": time.time() - 1}
    own = owner_of(places, "x", 0)
    far = FarOf(
        {"lab": "held", "owner": past, "held": True},
        {"lab": "stranger", "owner": stranger, "held": False},
        {"lab": "expired", "owner": past, "held": False},
        {"lab": "later", "owner": stranger | {"expires": time.time() + 60}, "held": False},
        {"lab": "ours", "owner": own, "held": False},
        {"lab": "torn", "owner": {}, "held": False},
    )
    assert Far.reap(far, places) == ("expired", "ours")  # type: ignore[arg-type]
    with locked(places.lab("x") / "lock"):
        far.gone.clear()
        Far.reap(far, places)  # type: ignore[arg-type]
        assert far.gone == ["expired"], "its keeper lives: the connection was cut, and it may come back"


@pytest.mark.parametrize("name", CASES)
def test_a_definition_differs_in_its_console_alone(name: str) -> None:
    xml = domain_xml(CASES[name].node, CASES[name].wire())
    before, after = ET.fromstring(xml), ET.fromstring(with_terminal(xml))
    serial = after.find("devices/serial")
    assert serial is not None and serial.attrib == {"type": "pty"} and [each.tag for each in serial] == ["target"]
    for tree in (before, after):
        devices, console = tree.find("devices"), tree.find("devices/serial")
        assert devices is not None and console is not None
        devices.remove(console)
    assert ET.canonicalize(ET.tostring(before), strip_text=True) == ET.canonicalize(ET.tostring(after), strip_text=True)
