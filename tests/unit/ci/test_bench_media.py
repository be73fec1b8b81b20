"""The benchmark of media takes room for minutes: it says when there is too little, and clears away when it is ended."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path

import pytest

from ci.bench import media
from ci.nightly import programs
from ci.nightly.part import Desk

Usage = namedtuple("Usage", "total used free")


def test_too_little_room_is_said_and_nothing_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A full disk is made up: a real one would be everybody's."""
    monkeypatch.setattr("shutil.disk_usage", lambda _folder: Usage(1 << 40, 0, 20 << 30))
    assert media.has_room(tmp_path, "xcp")
    assert not media.has_room(tmp_path, "dvd")
    assert "20 GiB free, dvd takes 27" in capsys.readouterr().err


def test_what_was_not_measured_has_not_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def without_room(argv: list[str], **_more: object) -> int:
        """Stands for the program on a full disk."""
        asked.append(argv)
        return media.NO_ROOM

    monkeypatch.setattr(programs, "status_of", without_room)
    with pytest.raises(SystemExit) as ended:
        programs.bench_media("dvd", Desk("bench-media", tmp_path, tmp_path / "log", {}))
    assert ended.value.code == media.NO_ROOM
    assert asked[0][-2:] == ["--folder", str(tmp_path)]


def test_it_clears_away_when_it_is_out_of_time(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "ci.bench.media", "--rounds", "1", "--folder", str(tmp_path)]
    child = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("*/tree/Packages/*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    child.send_signal(signal.SIGTERM)
    assert child.wait(60) == 128 + signal.SIGTERM
    assert list(tmp_path.iterdir()) == []
