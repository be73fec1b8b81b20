"""What a failed step is called, from what raised it to what the user is told."""

from __future__ import annotations

import errno
import os
import queue
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from builder.drivers.boot import BootFollower
from builder.drivers.ends import ENDS
from builder.errors import CommandFailed, LabError, NodeFailed, TimedOut
from builder.events import Event, EventLog
from builder.lifecycle.nodes import Nodes
from builder.lifecycle.plan import plan_lab
from builder.lifecycle.protocol import answer_error
from builder.lifecycle.request import UpOptions
from builder.lifecycle.state import LabFolder
from builder.lifecycle.steps import Work
from builder.model.load import parse_lab
from builder.model.plan import Cause, Phase
from builder.paths import Places
from builder.systems import load_system, traits
from builder.systems.causes import DISK_FULL

_FAILED = Cause(pattern="^installer: failed", name="failed", message="it failed", cure="read it", vague=True)
_SAID = "tar: write error: No space left on device"  # GNU tar with strerror(ENOSPC)


def boot(console: Path, text: str) -> Callable[[], object]:
    """A real follower of a console that says this."""
    console.write_text(text)
    phases = (Phase(name="packages", awaits="never", weight=0.1, causes=(DISK_FULL, _FAILED)),)
    return BootFollower(console, phases, "a", lambda *_, **__: None, queue.Queue()).follow


def brought_up(tmp_path: Path, do: Callable[[], object]) -> tuple[BaseException, list[Event], Nodes]:
    """What a lab of one node ends with when this is its boot; its other steps do nothing here."""
    plan = plan_lab(parse_lab(b"name: lab\nnodes: {a: {system: tiny}}", traits()).lab, load_system)
    places = Places(tmp_path / "state", tmp_path / "cache", tmp_path / "run")
    places.lab("lab").mkdir(parents=True)
    events: list[Event] = []
    nodes = Nodes(places, "lab", LabFolder(places, "lab"), EventLog("lab", None, events.append).emit)
    works = nodes.effects._works
    for name, work in works.items():
        works[name] = replace(work, do=lambda *_: None, undo=lambda _: None, is_done=lambda _: False)
    works["boot"] = Work(do=lambda *_: do(), undo=lambda _: None, is_done=lambda _: False)
    with pytest.raises((LabError, OSError)) as caught:
        nodes.converge(plan, UpOptions(), threading.Event())
    return caught.value, events, nodes


def test_a_full_disk_of_the_guest_is_not_one_of_this_machine(tmp_path: Path) -> None:
    text = f"{_SAID}\ninstaller: failed at packages\n"
    error, events, nodes = brought_up(tmp_path, boot(tmp_path / "console", text))
    assert isinstance(error, NodeFailed) and error.cause == "disk-full"
    told = answer_error(error)["error"]
    assert told["exit_code"] == 1
    assert f"| {_SAID}" in told["message"] and "this machine" not in told["message"]
    assert "large enough" in told["hint"]
    assert [event.cause for event in events if event.step == "a/boot" and event.kind == "end"] == ["disk-full"]
    assert nodes.status().nodes[0].cause == "disk-full"


def test_a_guest_that_is_late_after_such_a_line_is_late(tmp_path: Path) -> None:
    error, _, nodes = brought_up(tmp_path, boot(tmp_path / "console", f"{_SAID}\n"))
    assert isinstance(error, TimedOut) and error.last_lines[-1:] == (_SAID,)
    assert answer_error(error)["error"]["exit_code"] == 4
    assert nodes.status().nodes[0].cause == "disk-full"


def test_what_fails_because_a_guest_failed_is_not_this_machines_either(tmp_path: Path) -> None:
    follow = boot(tmp_path / "console", f"{_SAID}\ninstaller: failed at packages\n")

    def do() -> None:
        try:
            follow()
        except NodeFailed:
            raise LabError("its end cannot be told") from None

    error, _, nodes = brought_up(tmp_path, do)
    assert str(error) == "its end cannot be told"
    assert nodes.status().nodes[0].cause == "LabError"


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)),
        CommandFailed(["qemu-img"], returncode=1, stderr="qemu-img: x: Could not create: No space left on device"),
    ],
    ids=["ENOSPC", "EDQUOT", "a program"],
)
def test_a_full_disk_of_this_machine_has_its_name(tmp_path: Path, error: Exception) -> None:
    def do() -> None:
        raise error

    named, _, nodes = brought_up(tmp_path, do)
    assert isinstance(named, NodeFailed) and named.cause == "no-space" and named.hint == ENDS["no-space"].cure
    assert nodes.status().nodes[0].cause == "no-space"
