"""What an `up` on a lab that is up leaves alone, and what a failed one leaves behind. The steps' effects are names in a
list here; what they do to guests is tested in integration/test_lifecycle.py."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from builder.errors import HostLacks, LabError, UsageError
from builder.events import EventLog
from builder.lifecycle.nodes import Nodes
from builder.lifecycle.plan import LabPlan, plan_lab
from builder.lifecycle.request import UpOptions
from builder.lifecycle.state import LabFolder
from builder.lifecycle.steps import Json, Step
from builder.model.load import parse_lab
from builder.paths import Places
from builder.systems import load_system, traits

STORAGE_FIRST = "name: lab\nnodes:\n  san: {system: tiny}\n  host: {system: tiny, after: [san]}\n"


class Lab:
    """Nodes that run once their boot is done, and until it is undone; `log` is what was done and undone."""

    def __init__(self, folder: Path) -> None:
        places = Places(folder / "state", folder / "cache", folder / "run")
        places.lab("lab").mkdir(parents=True)
        self.nodes = Nodes(places, "lab", LabFolder(places, "lab"), EventLog("lab", None, lambda _event: None).emit)
        self.log: list[str] = []
        self.there: set[str] = set()
        self.fails: dict[str, Callable[[], object]] = {}
        effects = self.nodes.effects
        for name, work in effects._works.items():
            effects._works[name] = replace(
                work, do=self._do, undo=self._undo, is_done=lambda step: step.id in self.there
            )
        effects.is_running = lambda node: f"{node}/boot" in self.there  # type: ignore[method-assign]

    def up(self, text: str, *recreate: str) -> None:
        self.log.clear()
        self.nodes.converge(planned(text), UpOptions(recreate=recreate), threading.Event())

    def states(self) -> dict[str, str]:
        return {node.name: node.state for node in self.nodes.status().nodes}

    def _do(self, step: Step, _stop: threading.Event) -> Json:
        self.log.append(f"do {step.id}")
        if step.id in self.fails:
            self.fails[step.id]()
        self.there.add(step.id)
        return None

    def _undo(self, step: Step) -> None:
        self.log.append(f"undo {step.id}")
        self.there.discard(step.id)


def planned(text: str) -> LabPlan:
    return plan_lab(parse_lab(text.encode(), traits()).lab, load_system)


def broken() -> None:
    raise LabError("broken on purpose")


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    made = Lab(tmp_path)
    yield made
    made.nodes.take_down()


def test_a_node_that_comes_after_another_is_left_alone_when_that_is_made_anew(lab: Lab) -> None:
    lab.up(STORAGE_FIRST)
    assert lab.log.index("do san/session") < lab.log.index("do host/boot")
    lab.up(STORAGE_FIRST.replace("san: {", "san: {memory: 300MiB, "), "san")
    assert "do san/boot" in lab.log
    assert not [line for line in lab.log if "host/" in line], "nobody pulls the plug of a host that did not change"


def test_a_node_that_had_no_room_to_start_can_be_left_out_again(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    one = "name: lab\nnodes: {a: {system: tiny}}"
    lab.up(one)
    with monkeypatch.context() as patch:
        patch.setattr(lab.nodes.effects, "memory", lambda: 1 << 20)
        with pytest.raises(HostLacks, match="starting b takes"):
            lab.up("name: lab\nnodes: {a: {system: tiny}, b: {system: tiny}}")
    lab.up(one)
    assert not [line for line in lab.log if "/" in line] and lab.states() == {"a": "ready"}


def test_a_node_that_is_there_and_left_out_is_refused_with_what_can_be_done(lab: Lab) -> None:
    lab.up("name: lab\nnodes: {a: {system: tiny}, b: {system: tiny}}")
    with pytest.raises(UsageError, match="b: no longer in the lab file") as caught:
        lab.up("name: lab\nnodes: {a: {system: tiny}}")
    assert "--recreate b" not in str(caught.value.hint), "up refuses names that the file does not have"
    assert "nestlab down lab" in str(caught.value.hint)


def test_a_failed_up_does_not_hide_the_nodes_that_run(lab: Lab) -> None:
    lab.up("name: lab\nnodes: {a: {system: tiny}}")
    lab.fails["b/identity"] = broken
    with pytest.raises(LabError, match="broken on purpose"):
        lab.up("name: lab\nnodes: {b: {system: tiny}, a: {system: tiny}}")
    assert lab.states()["a"] == "ready"


def test_a_lab_whose_nodes_cannot_be_told_names_has_failed(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab.nodes.effects, "tell_names", lambda _names: broken())
    with pytest.raises(LabError, match="broken on purpose"):
        lab.up("name: lab\nnodes: {a: {system: tiny}}")
    assert lab.nodes.status().state == "failed"


def test_a_power_on_is_one_nodes(lab: Lab) -> None:
    lab.up(STORAGE_FIRST)
    lab.there -= {"san/boot", "san/session", "host/boot", "host/session"}
    assert lab.states() == {"san": "stopped", "host": "stopped"}
    lab.log.clear()
    lab.nodes.power_on("host", threading.Event())
    assert [line for line in lab.log if line.startswith("do ") and "/" in line] == ["do host/boot", "do host/session"]
    assert lab.states() == {"san": "stopped", "host": "ready"}, "somebody has switched it off, and had a reason"
    assert lab.nodes.status().state == "ready"
    with pytest.raises(LabError, match="no node ghost"):
        lab.nodes.power_on("ghost", threading.Event())


def test_a_power_on_does_not_try_a_node_again_that_failed(lab: Lab) -> None:
    lab.up("name: lab\nnodes: {a: {system: tiny}}")
    lab.fails["b/boot"] = broken
    with pytest.raises(LabError, match="broken on purpose"):
        lab.up("name: lab\nnodes: {a: {system: tiny}, b: {system: tiny}}")
    lab.there -= {"a/boot"}
    lab.log.clear()
    lab.nodes.power_on("a", threading.Event())
    assert "do a/boot" in lab.log and "do b/boot" not in lab.log
    assert (lab.states(), lab.nodes.status().state) == ({"a": "ready", "b": "failed"}, "failed")
    lab.fails.clear()
    lab.nodes.power_on("b", threading.Event())
    assert lab.nodes.status().state == "ready"


def test_a_new_node_may_be_named_with_recreate(lab: Lab) -> None:
    lab.up("name: lab\nnodes: {a: {system: tiny}}")
    lab.up("name: lab\nnodes: {a: {system: tiny}, b: {system: tiny}}", "b")
    assert lab.states() == {"a": "ready", "b": "ready"}
