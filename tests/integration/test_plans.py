"""Plans that no lab file of today makes, carried out for real: two boots in a row, order among nodes, expiry."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.errors import LabError
from builder.events import Event, read_events
from builder.lifecycle.down import down, reap
from builder.lifecycle.plan import LabPlan, plan_lab
from builder.lifecycle.request import UpOptions
from builder.lifecycle.state import read_owner
from builder.lifecycle.status import list_labs, status
from builder.lifecycle.up import up
from builder.model.load import parse_lab
from builder.systems.tiny.system import Tiny
from tests.support.lab import Bench, bench
from tests.support.two_boot import TwoBoot

pytestmark = pytest.mark.integration


@pytest.fixture
def here() -> Iterator[Bench]:
    with bench() as made:
        yield made


def plan_of(text: str, system: TwoBoot | Tiny) -> LabPlan:
    lab = parse_lab(text.encode(), {system.traits.name: system.traits}).lab
    return plan_lab(lab, lambda _name: system)


TWO = """\
name: install
nodes:
  a:
    system: two-boot
    disks: [{size: 64MiB}]
"""


@pytest.mark.parametrize("end", ["reboot -f", "poweroff -f"])
def test_install_then_boot_is_data(here: Bench, end: str) -> None:
    seen: list[Event] = []
    plan = plan_of(TWO, TwoBoot(end))
    done = up(plan, here.places, options=UpOptions(), listener=seen.append)
    assert [node.state for node in done.nodes] == ["ready"]
    phases = [(e.step, e.phase) for e in seen if e.kind == "end" and e.phase and e.node]
    assert phases == [
        ("a/boot:install", "kernel"), ("a/boot:install", "installation"), ("a/boot:install", "end"),
        ("a/boot:disk", "kernel"), ("a/boot:disk", "installed"), ("a/boot:disk", "ready"), ("a/boot:disk", "ssh"),
    ]  # fmt: skip
    again: list[Event] = []
    up(plan, here.places, options=UpOptions(), listener=again.append)
    assert {e.outcome for e in again if e.step} == {"cached"}


def test_a_killed_keeper_does_not_make_it_install_again(here: Bench) -> None:
    plan = plan_of(TWO, TwoBoot())
    up(plan, here.places, options=UpOptions(), listener=lambda _event: None)
    owner = read_owner(here.places.lab("install") / "lock")
    assert owner is not None
    os.kill(owner.pid, signal.SIGKILL)
    seen: list[Event] = []
    up(plan, here.places, options=UpOptions(), listener=seen.append)
    assert [e.step for e in seen if e.kind == "begin" and e.step and not e.phase] == ["a/boot:disk", "a/session"]


ORDER = """\
name: order
nodes:
  third: {system: tiny, after: [second]}
  second: {system: tiny, after: [first]}
  first: {system: tiny}
"""


def test_nodes_start_after_those_they_name(here: Bench) -> None:
    up(plan_of(ORDER, Tiny()), here.places, options=UpOptions(), listener=lambda _event: None)
    events = list(read_events(here.places.lab("order") / "events.jsonl"))
    marks = [(e.node, e.kind) for e in events if e.step and not e.phase and _boots_or_is_ready(e)]
    assert marks == [(n, kind) for n in ("first", "second", "third") for kind in ("begin", "end")]


def _boots_or_is_ready(event: Event) -> bool:
    name = str(event.step).partition("/")[2]
    return (name == "boot" and event.kind == "begin") or (name == "session" and event.kind == "end")


def test_a_lab_ends_by_itself_when_its_time_is_up(here: Bench) -> None:
    plan = plan_of("name: brief\nnodes: {a: {system: tiny}}\n", Tiny())
    brief = plan.model_copy(update={"lab": plan.lab.model_copy(update={"expires": 2})})
    done = up(brief, here.places, options=UpOptions(), listener=lambda _event: None)
    assert 0 < done.expires_at - time.time() <= 2
    deadline = time.monotonic() + 15
    while here.left():
        assert time.monotonic() < deadline, here.left()
        time.sleep(0.1)
    with pytest.raises(LabError, match="no lab named brief"):
        status("brief", here.places)


def test_reap_takes_dead_labs_and_leaves_the_living(here: Bench) -> None:
    for name in ("dead", "alive"):
        plan = plan_of(f"name: {name}\nnodes: {{a: {{system: tiny}}}}\n", Tiny())
        up(plan, here.places, options=UpOptions(), listener=lambda _event: None)
    owner = read_owner(here.places.lab("dead") / "lock")
    assert owner is not None
    os.kill(owner.pid, signal.SIGKILL)
    time.sleep(0.2)
    assert {lab.lab: lab.state for lab in list_labs(here.places)} == {"alive": "ready", "dead": "dead"}
    assert reap(here.places) == ("dead",)
    assert [lab.lab for lab in list_labs(here.places)] == ["alive"]
    assert down("alive", here.places, listener=lambda _event: None)
    assert not Path(here.places.labs()).exists()
