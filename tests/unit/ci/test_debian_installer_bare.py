"""The bare run is watched by its console: what phases take, and how it ends when it does not go on. A shell stands in
for the machine: it writes the console."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from builder.errors import NodeFailed, TimedOut
from builder.model.plan import Cause, Phase
from ci.debian_installer import bare

_ASKED = Cause(pattern="Prompt:", name="question-asked", message="it asks", cure="answer")
_CLUE = Cause(pattern="a hint", name="clue", message="perhaps", cure="look", sure=False)
PHASES = (
    Phase(name="first", awaits="nestlab: one", causes=(_ASKED, _CLUE)),
    Phase(name="second", awaits="nestlab: two", causes=(_ASKED,)),
    Phase(name="end", signal="power-off"),
)


@contextmanager
def machine(script: str, console: Path) -> Iterator[subprocess.Popen[bytes]]:
    with console.open("wb") as file, subprocess.Popen(["sh", "-c", script], stdout=file) as process:
        try:
            yield process
        finally:
            process.kill()


def watch(script: str, folder: Path, seconds: float = 20) -> dict[str, bare.Took]:
    console = folder / "serial.log"
    with machine(script, console) as process:
        return bare.watched(process, console, PHASES, seconds)


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bare, "POLL", 0.02)


def test_each_phase_ends_with_its_mark_and_the_last_with_the_machine(tmp_path: Path) -> None:
    took = watch("echo a hint; sleep 0.4; echo nestlab: one; echo nestlab: two; sleep 0.2", tmp_path)
    assert list(took) == ["first", "second", "end"]
    assert took["first"]["seconds"] >= 0.3 > took["second"]["seconds"]


@pytest.mark.parametrize(
    ("script", "cause"),
    [
        ("echo nestlab: one; echo Prompt:; sleep 20", "question-asked"),
        ("echo nestlab: one", "early-end"),
        ("echo a hint", "early-end"),
    ],
)
def test_a_machine_that_stops_is_told_with_its_cause(script: str, cause: str, tmp_path: Path) -> None:
    with pytest.raises(NodeFailed) as failed:
        watch(script, tmp_path)
    assert failed.value.cause == cause


def test_one_that_goes_on_without_end_is_stopped(tmp_path: Path) -> None:
    with pytest.raises(TimedOut, match="second"):
        watch("echo nestlab: one; sleep 20", tmp_path, seconds=0.3)


def test_what_a_process_used_is_known_until_it_is_gone() -> None:
    with subprocess.Popen(["sh", "-c", "while :; do :; done"]) as process:
        try:
            first = bare.cpu_seconds(process.pid)
            while (now := bare.cpu_seconds(process.pid)) < 0.05:
                pass
            assert now > first
        finally:
            process.kill()
    assert bare.cpu_seconds(process.pid) == 0.0


def test_only_logs_stay_of_a_run(tmp_path: Path) -> None:
    folder = tmp_path / "bare"
    folder.mkdir()
    (folder / "old.log").touch()
    with pytest.raises(TimedOut), bare.workplace(folder) as here:
        assert list(here.iterdir()) == []
        for name in ("serial.log", "disk0.qcow2", "answers/answerfile.xml"):
            (here / name).parent.mkdir(exist_ok=True)
            (here / name).touch()
        raise TimedOut("the end", seconds=1)
    assert [path.name for path in folder.iterdir()] == ["serial.log"]
