"""What is asked of hosts, and what becomes of those that do not answer; real hosts answer in the integration tests."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from builder.errors import LabError, TimedOut, UsageError
from builder.lifecycle import collect as module
from builder.lifecycle.collect import QUESTIONS, collect
from builder.model.host import Host
from builder.paths import Places
from tests.support.fake_host import FakeHost


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path / "state", tmp_path / "cache", tmp_path / "run")


@pytest.fixture
def failed(places: Places) -> Path:
    """What a lab left that did not come up."""
    folder = places.state / "failures/broken"
    (folder / "nodes/a").mkdir(parents=True)
    (folder / "nodes/a/console.log").write_text("panic\n")
    (folder / "events.jsonl").write_text("{}\n")
    return folder


def asked(host: Host, folder: Path) -> tuple[dict[str, str], dict[str, str]]:
    silent: dict[str, str] = {}
    module._ask(host, folder / host.name, 1, silent)
    return {path.name: path.read_text("utf-8") for path in (folder / host.name).iterdir()}, silent


@pytest.mark.parametrize("dialect", QUESTIONS)
def test_every_question_is_one_that_shells_understand(dialect: str) -> None:
    for name, words in QUESTIONS[dialect].items():
        assert name.endswith((".txt", ".log"))
        for shell in ("sh", "bash"):
            subprocess.run([shell, "-n", "-c", words], check=True)
    assert set(QUESTIONS["none"]) < set(QUESTIONS["xl"]) < set(QUESTIONS["xe"])


def test_answers_are_kept_with_what_went_wrong_and_missing_programs_left_out(tmp_path: Path) -> None:
    host = FakeHost({"sh -c 'xl dmesg'": "(XEN) hello\n", "sh -c dmesg": 3})
    said, silent = asked(host, tmp_path)
    assert said["xen.log"] == "(XEN) hello\n"
    assert said["kernel.log"].endswith("(ended with status 3)\n")
    assert set(said) == {"xen.log", "kernel.log"} and silent == {} and host.changes == []


def test_a_host_that_hangs_is_not_asked_on(tmp_path: Path) -> None:
    def hang(argv: Sequence[str]) -> str:
        raise TimedOut("the end of it", seconds=60, node="dom0")

    said, silent = asked(FakeHost({"sh -c 'cat /proc/cmdline'": "root=x\n", "sh -c dmesg": hang}), tmp_path)
    assert set(said) == {"boot-arguments.txt"}
    assert "waited 60 s" in silent["dom0"]


def test_of_a_lab_that_did_not_come_up_its_failure(places: Places, failed: Path, tmp_path: Path) -> None:
    done = collect("broken", places, tmp_path / "out")
    assert done.files == ("events.jsonl", "nodes/a/console.log") and done.silent == {}
    assert done.folder.stat().st_mode & 0o777 == 0o700
    shutil.rmtree(failed)
    assert (done.folder / "nodes/a/console.log").read_text() == "panic\n"


def test_nothing_is_overwritten_and_nothing_left_half(places: Places, failed: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(UsageError, match="is there already"):
        collect("broken", places, out)
    with pytest.raises(LabError, match="lab other is not up, and no failure of it was kept"):
        collect("other", places, tmp_path / "x")
    with pytest.raises(LabError, match="cannot be written"):
        collect("broken", places, failed / "events.jsonl/below")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "state"]
