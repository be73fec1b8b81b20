"""The lab's folder: whole files, versions, records, and who holds the lock."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from builder.errors import LabError
from builder.lifecycle.state import (
    LabFolder,
    StepRecord,
    UnknownVersion,
    read_json,
    read_owner,
    read_status,
    write_json,
    write_owner,
)
from builder.lifecycle.state import read_plan as read_plan_of
from builder.lifecycle.status import list_labs, status
from builder.lifecycle.steps import Step
from builder.model.runtime import LabStatus
from builder.paths import Busy, Places, is_locked, locked, write_atomic


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(state=tmp_path / "state", cache=tmp_path / "cache", runtime=tmp_path / "run")


def test_records_survive_and_can_be_removed(places: Places) -> None:
    one = Step(id="a/disks", name="disks", version=1, kind="live", node="a", key="k1")
    folder = LabFolder(places, "lab")
    folder.record(one, StepRecord(key="k1", state="begun"))
    folder.record(one, StepRecord(key="k1", state="done", output={"x": 1}, seconds=1.5))
    again = LabFolder(places, "lab")
    assert again.records("a") == {"a/disks": StepRecord(key="k1", state="done", output={"x": 1}, seconds=1.5)}
    again.record(one, None)
    assert LabFolder(places, "lab").records("a") == {}


@pytest.mark.parametrize("content", ['{"v": 99}', "{}", "[]", '"text"'])
def test_an_unknown_version_is_refused_with_the_way_out(tmp_path: Path, content: str) -> None:
    file = tmp_path / "state.json"
    file.write_text(content)
    with pytest.raises(UnknownVersion, match="version") as caught:
        read_json(file)
    assert "nestlab down" in str(caught.value.hint)


def test_a_damaged_file_is_refused_with_the_way_out(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    file.write_text('{"v": 1, "lab": ')
    with pytest.raises(LabError, match="damaged"):
        read_json(file)


def test_files_are_private_and_leave_no_temporary_behind(places: Places) -> None:
    folder = LabFolder(places, "lab")
    folder.node("a")
    folder.write_status(LabStatus(lab="lab", state="ready"))
    assert (folder.path / "state.json").stat().st_mode & 0o777 == 0o600
    assert sorted(p.name for p in folder.path.iterdir()) == ["nodes", "state.json"]
    assert json.loads((folder.path / "state.json").read_text())["v"] == 1
    assert read_status(places, "lab") == LabStatus(lab="lab", state="ready")


def test_a_failed_write_leaves_the_old_content(tmp_path: Path) -> None:
    file = tmp_path / "a"
    write_atomic(file, "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomic(file, "\ud800")
    assert file.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_a_lab_without_a_keeper_shows_as_dead(places: Places) -> None:
    folder = LabFolder(places, "lab")
    folder.node("a")
    folder.write_status(LabStatus(lab="lab", state="ready", keeper_pid=1))
    assert status("lab", places).state == "dead"
    assert [lab.state for lab in list_labs(places)] == ["dead"]


def test_a_lab_of_another_version_is_listed_as_dead_and_not_hidden(places: Places) -> None:
    LabFolder(places, "lab").node("a")
    (places.lab("lab") / "state.json").write_text('{"v": 2}')
    assert [(lab.lab, lab.state) for lab in list_labs(places)] == [("lab", "dead")]


def test_what_is_not_up_is_said_so(places: Places) -> None:
    for ask in (lambda: status("ghost", places), lambda: read_plan_of(places, "ghost")):
        with pytest.raises(LabError, match="no lab named ghost is up"):
            ask()
    assert list_labs(places) == ()
    assert not places.state.exists()


def test_the_lock_is_dropped_by_kill_9_and_names_its_holder(tmp_path: Path) -> None:
    lock = tmp_path / "lab" / "lock"
    code = (
        "import sys; from pathlib import Path; from builder.paths import locked\n"
        "from builder.lifecycle.state import write_owner\n"
        "with locked(Path(sys.argv[1])) as fd:\n  write_owner(fd); print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, lock], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    owner = read_owner(lock)
    assert owner is not None
    assert owner.pid == holder.pid
    assert is_locked(lock)
    with pytest.raises(Busy), locked(lock, wait=False):
        pass
    holder.kill()
    holder.communicate()
    assert not is_locked(lock)
    assert read_owner(lock) is None


def test_a_lock_file_removed_by_its_holder_is_not_taken_for_the_lock(tmp_path: Path) -> None:
    lock = tmp_path / "lab" / "lock"
    with locked(lock) as first:
        write_owner(first)
        lock.unlink()
        with locked(lock, wait=False) as second:
            assert os.fstat(second).st_ino == lock.stat().st_ino


def test_json_writing_puts_the_version_first(tmp_path: Path) -> None:
    write_json(tmp_path / "x", {"b": 1})
    assert (tmp_path / "x").read_text().splitlines()[1].strip() == '"v": 1,'
