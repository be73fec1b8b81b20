"""What a keeper answers about disks and networks of nodes that do not run, and in which order it plugs disks in. What
is done to nodes that run is held against guests in integration/test_net.py."""

from __future__ import annotations

import socket
import threading
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from builder.errors import LabError
from builder.hypervisors.kvm import domain_xml
from builder.lifecycle.booting import Boots
from builder.lifecycle.faults import Faults
from builder.lifecycle.protocol import Channel
from builder.lifecycle.request import UpOptions
from builder.lifecycle.site import Here
from builder.lifecycle.state import LabFolder
from builder.model.lab import Lab, Network
from builder.model.runtime import NicPorts
from builder.paths import Places
from tests.support.kvm_cases import Case, disks, node

NODE = node(name="a", disks=disks("lsilogic", 3))


def _nobody(*_: Any, **__: Any) -> None:
    """Nobody listens to these events."""


@pytest.fixture
def boots(tmp_path: Path) -> Iterator[tuple[Boots, Faults]]:
    places = Places(tmp_path / "state", tmp_path / "cache", tmp_path / "run")
    site = Here(places, "x")
    made = Boots(places, "x", LabFolder(places, "x"), _nobody)
    made.use(UpOptions.model_validate({}), site)
    faults = Faults(made, lambda _node: None)
    lab = Lab(name="x", description="", expires=0, networks=(Network(name="lan"),), nodes=(NODE,))
    site.cables.networks({"lan": 1500})
    faults.use(lab)
    yield made, faults
    made.close()
    site.close()


def ask(faults: Faults, op: str, **arguments: Any) -> Any:
    ours, theirs = socket.socketpair()
    try:
        return faults.answer(op, {"v": 1, "op": op, **arguments}, Channel(theirs), threading.Event())
    finally:
        ours.close()
        theirs.close()


def test_disks_are_plugged_in_in_the_order_that_was_asked_for(boots: tuple[Boots, Faults]) -> None:
    made, faults = boots
    assert ask(faults, "order-disks", node="a", disks=["d0", "d2", "d1"]) is True
    assert ask(faults, "order-disks", node="a", disks=["d0", "d2", "d1"]) is False
    assert [(row["name"], row["place"]) for row in ask(faults, "disks")] == [("d0", 1), ("d1", 3), ("d2", 2)]
    plain = Case(NODE, {}).wire()
    ordered = made._in_order(NODE, plain)
    found = {}
    for disk in ET.fromstring(domain_xml(*ordered)).iterfind("devices/disk"):
        source, address = disk.find("source"), disk.find("address")
        assert source is not None and address is not None
        found[source.get("file")] = (address.get("controller"), disk.findtext("serial"))
    assert found == {plain.disks[0]: ("0", "d0"), plain.disks[2]: ("1", "d2"), plain.disks[1]: ("2", "d1")}
    fewer = NODE.model_copy(update={"disks": NODE.disks[:2]})
    assert made.disk_order(fewer) == ["d0", "d1"], "an order that does not fit any more is none"


@pytest.mark.parametrize(
    ("op", "arguments", "said"),
    [
        ("order-disks", {"node": "a", "disks": ["d0", "d1"]}, "each of them once"),
        ("order-disks", {"node": "a", "disks": ["d0", "d1", "d1"]}, "each of them once"),
        ("order-disks", {"node": "a", "disks": ["d1", "d0", "d2"]}, "has to stay the first"),
        ("order-disks", {"node": "b", "disks": []}, "no node b"),
        ("pull-disk", {"node": "a", "disk": "d9"}, "no disk d9"),
        ("pull-disk", {"node": "a", "disk": "d1"}, "a is not running"),
        ("insert-disk", {"node": "a", "disk": "d1"}, "a is not running"),
        ("cut", {"node": "a", "network": "wan", "cut": True}, "no network wan"),
        ("cut", {"node": "a", "network": "lan", "cut": True}, "a is not running"),
        ("link", {"node": "a", "network": "lan", "up": False}, "a is not running"),
        ("shape", {"node": "b", "network": "lan", "delay_ms": 1, "loss": 0}, "no node b"),
        ("capture", {"network": "wan", "seconds": 1}, "no network wan"),
        ("fly", {}, "does not know how to fly"),
    ],
)
def test_what_cannot_be_is_named(boots: tuple[Boots, Faults], op: str, arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(LabError, match=said):
        ask(boots[1], op, **arguments)


def test_nodes_that_are_off_are_in_the_tables(boots: tuple[Boots, Faults]) -> None:
    (port,) = ask(boots[1], "ports")
    assert (port["node"], port["network"], port["running"], port["link"], port["counters"]) == (
        "a",
        "lan",
        False,
        False,
        {},
    )
    assert [row["plugged"] for row in ask(boots[1], "disks")] == [False] * 3
    assert ask(boots[1], "power-off", node="a") is False


def test_a_keeper_that_has_no_lab_yet_says_so(boots: tuple[Boots, Faults]) -> None:
    made, _ = boots
    with pytest.raises(LabError, match="only just starting"):
        ask(Faults(made, lambda _node: None), "ports")


def test_a_capture_of_a_quiet_network_is_an_empty_file(boots: tuple[Boots, Faults]) -> None:
    ours, theirs = socket.socketpair()
    counted = boots[1].answer("capture", {"network": "lan", "seconds": 0.1}, Channel(theirs), threading.Event())
    assert counted == {"frames": 0, "missed": 0}
    message = Channel(ours).receive()
    assert message is not None and set(message) == {"data"}
    theirs.close()
    ours.close()


def test_a_port_that_comes_or_goes_meanwhile_is_no_bug(
    boots: tuple[Boots, Faults], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node that somebody else stops or starts between two looks at it."""
    made, faults = boots
    monkeypatch.setattr(made, "switch_ports", lambda _node, _network: [29999])
    with pytest.raises(LabError, match="a is just being started or stopped"):
        ask(faults, "cut", node="a", network="lan", cut=True)
    with pytest.raises(LabError, match="a is just being started or stopped"):
        ask(faults, "shape", node="a", network="lan", delay_ms=1, loss=0)


def test_a_node_that_ends_while_it_is_listed_is_off(
    boots: tuple[Boots, Faults], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tables have all the others still."""
    made, faults = boots
    ended: list[str] = []

    def powered(node: str) -> None:
        ended.append(node)
        raise LabError(f"{node} is not running")

    monkeypatch.setattr(made, "is_running", lambda _node: not ended)
    monkeypatch.setattr(made, "powered", powered)
    monkeypatch.setattr(made, "wired", lambda _node: (NicPorts(qemu=1, switch=2),) * len(NODE.nics))
    assert [row["running"] for row in ask(faults, "disks")] == [False] * 3
    ended.clear()
    assert [row["running"] for row in ask(faults, "ports")] == [False] * len(NODE.nics)
    ended.clear()
    assert ask(faults, "power-off", node="a") is False
