"""Places, private folders, files that appear whole, locks."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from builder import paths
from builder.errors import HostLacks, Interrupted, LabError
from builder.paths import Busy, Places, data_dir, is_locked, locked, private_dir, write_atomic


def test_places_follow_xdg_and_are_replaceable(tmp_path: Path) -> None:
    plain = Places.from_environment({"HOME": "/home/someone"})
    assert str(plain.state) == "/home/someone/.local/state/nestlab"
    assert str(plain.cache) == "/home/someone/.cache/nestlab"
    xdg = Places.from_environment({"HOME": "/h", "XDG_STATE_HOME": "/s", "XDG_CACHE_HOME": "relative"})
    assert (str(xdg.state), str(xdg.cache)) == ("/s/nestlab", "/h/.cache/nestlab")
    own = Places.from_environment({"HOME": "/h", "NESTLAB_STATE": "/a", "NESTLAB_CACHE": "/b", "NESTLAB_RUNTIME": "/c"})
    assert [str(p) for p in (own.state, own.cache, own.runtime)] == ["/a", "/b", "/c"]


def test_runtime_folders_stay_short_enough_for_sockets(tmp_path: Path) -> None:
    short = Places.from_environment({"HOME": "/h", "XDG_RUNTIME_DIR": str(tmp_path / ("long" * 20))})
    assert len(str(short.run("a-lab-with-a-name-of-32-letters"))) <= 40


def test_two_state_folders_never_share_a_runtime_folder() -> None:
    one, two = (Places(Path(state), Path("/c"), Path("/r")).run("lab") for state in ("/s1", "/s2"))
    assert one != two


def test_a_private_folder_is_for_its_owner_only(tmp_path: Path) -> None:
    folder = tmp_path / "a/b"
    assert private_dir(folder).stat().st_mode & 0o777 == 0o700
    folder.chmod(0o755)
    assert private_dir(folder).stat().st_mode & 0o777 == 0o700


def test_a_folder_that_is_not_ours_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(HostLacks):
        private_dir(tmp_path / "link")
    other = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: other)  # another user needs root to be had
    with pytest.raises(HostLacks, match="not a folder of ours"):
        private_dir(tmp_path / "real")


def test_a_file_is_replaced_whole_with_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomic(path, "old")
    write_atomic(path, b"new", mode=0o600)
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("name", ["x" * 255, "\u00e4" * 127, "\U0001f4bf" * 63])
def test_a_file_may_have_the_longest_name_there_is(name: str, tmp_path: Path) -> None:
    write_atomic(tmp_path / name, "old")
    write_atomic(tmp_path / name, "new")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["new"]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.mkdir()  # a folder cannot be replaced by a file
    with pytest.raises(OSError, match="file"):
        write_atomic(path, "new")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert path.is_dir()


def test_a_lock_is_held_once_and_dropped_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "sub/lock"
    assert not is_locked(path)
    with locked(path):
        assert is_locked(path)
        with pytest.raises(Busy), locked(path, wait=False):
            pass
    assert not is_locked(path)


def test_a_lock_ends_with_its_holder(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    code = (
        "import sys; from pathlib import Path; from builder.paths import locked\n"
        "with locked(Path(sys.argv[1])): print('held', flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(paths.__file__).parents[1],
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert is_locked(path)
        holder.kill()
    assert not is_locked(path)


@pytest.mark.parametrize("name", ["labs", "answerfiles", "kickstarts"])
def test_data_lies_beside_the_package_in_a_clone(name: str) -> None:
    assert data_dir(name) == Path(paths.__file__).resolve().parents[1] / name


def test_waiting_for_a_lock_can_be_stopped(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    stop = threading.Event()
    with locked(lock):
        threading.Timer(0.2, stop.set).start()
        with pytest.raises(Interrupted), locked(lock, stop=stop):
            pass
    with locked(lock, stop=threading.Event()):
        pass


def test_a_folder_that_somebody_keeps_removing_can_be_locked_in(tmp_path: Path) -> None:
    folder = tmp_path / "lab"
    over = threading.Event()

    def remove() -> None:
        while not over.is_set():
            shutil.rmtree(folder, ignore_errors=True)

    remover = threading.Thread(target=remove)
    remover.start()
    try:
        for _ in range(2000):
            with locked(folder / "lock") as fd:
                assert fd > 0
    finally:
        over.set()
        remover.join()


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../labs"])
def test_a_lab_has_no_folder_outside_of_its_own(name: str, tmp_path: Path) -> None:
    with pytest.raises(LabError, match="cannot be the name of a lab"):
        Places(tmp_path / "state", tmp_path / "cache", tmp_path / "run").lab(name)
