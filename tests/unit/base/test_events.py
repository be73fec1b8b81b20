"""The event log: numbered without holes, whole lines, readable after a crash."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any, cast

import pytest

from builder import events
from builder.events import Event, EventLog, read_events


def test_events_are_numbered_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    log = EventLog("lab", path)
    log.emit("begin", node="a", step="boot")
    log.emit("end", node="a", step="boot", outcome="ok", seconds=3)
    log.close()
    first, second = read_events(path)
    assert (first.seq, second.seq) == (1, 2)
    assert (second.lab, second.node, second.outcome, second.data) == ("lab", "a", "ok", {"seconds": 3})
    assert first.t_mono <= second.t_mono
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_log_goes_on_after_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    log = EventLog("lab", path)
    log.emit("begin")
    log.emit("end")
    log.close()
    path.write_bytes(path.read_bytes()[:-7])
    again = EventLog("lab", path)
    again.emit("begin")
    again.close()
    assert [(event.seq, event.kind) for event in read_events(path)] == [(1, "begin"), (2, "begin")]


def test_listeners_get_what_the_file_gets_until_removed(tmp_path: Path) -> None:
    seen: list[Event] = []
    log = EventLog("lab", tmp_path / "events.jsonl")
    remove = log.listen(seen.append)
    log.emit("line", text="one")
    remove()
    remove()
    log.emit("line", text="two")
    log.close()
    assert [event.data["text"] for event in seen] == ["one"]


def test_numbers_have_no_holes_under_threads(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    log = EventLog("lab", path)

    def emit_fifty() -> None:
        for _ in range(50):
            log.emit("progress")

    threads = [threading.Thread(target=emit_fifty) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close()
    assert [event.seq for event in read_events(path)] == list(range(1, 201))


def test_the_first_line_of_a_private_key_leaves_no_hole_in_the_log(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    log = EventLog("lab", path)
    log.emit("line", node="a", text="-----BEGIN OPENSSH PRIVATE KEY-----", rest=[{"more": "root:$6$abc$defghijk:1:"}])
    log.emit("line", text="after it")
    log.close()
    first, second = read_events(path)
    assert (first.data, second.seq) == ({"text": "***", "rest": [{"more": "root:***:1:"}]}, 2)


class Clock:
    now = 100.0

    def monotonic(self) -> float:
        return self.now


def passing(monkeypatch: pytest.MonkeyPatch, told: list[tuple[float, int, int]]) -> list[dict[str, Any]]:
    """The progress of a transfer that is told (seconds since the one before, done, total)."""
    clock, seen = Clock(), []
    monkeypatch.setattr(events, "time", clock)

    def emit(kind: str, *, phase: str, **data: Any) -> None:
        assert (kind, phase) == ("progress", "download")
        seen.append(data)

    tell = events.transfer(cast(events.Emit, emit), "download")
    for seconds, done, total in told:
        clock.now += seconds
        tell(done, total)
    return seen


def test_a_transfer_tells_its_end_by_the_speed_of_what_came(monkeypatch: pytest.MonkeyPatch) -> None:
    assert passing(monkeypatch, [(0, 0, 100), (2, 20, 100), (0.5, 25, 100), (1.5, 40, 100)]) == [
        {"done": 20, "total": 100, "left": 8.0},
        {"done": 40, "total": 100, "left": 6.0},
    ]


def test_what_was_there_before_a_transfer_is_no_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading it may take a while, too: that is no time of the transfer."""
    assert passing(monkeypatch, [(60, 800, 1000), (10, 810, 1000)]) == [
        {"done": 800, "total": 1000},
        {"done": 810, "total": 1000, "left": 190.0},
    ]


def test_the_end_of_a_transfer_of_unknown_length_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert passing(monkeypatch, [(0, 0, 0), (2, 20, 0), (2, 40, 0)]) == [{"done": 20}, {"done": 40}]


def test_secrets_do_not_reach_the_file(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    log = EventLog("lab", path)
    log.emit("line", text="root:$6$abc$defghijk:1:")
    log.close()
    assert "defghijk" not in path.read_text()
    assert "***" in path.read_text()


@pytest.mark.parametrize("line", ['{"v": 99, "seq": 1}', "[]", "{"])
def test_what_is_no_event_of_ours_is_refused(line: str) -> None:
    with pytest.raises(ValueError):
        Event.from_json(line)


def test_lines_are_json_without_empty_keys() -> None:
    event = Event(v=1, seq=1, t_wall=1.0, t_mono=2.0, lab="x", kind="begin")
    assert set(json.loads(event.to_json())) == {"v", "seq", "t_wall", "t_mono", "lab", "kind"}


def test_a_log_that_is_not_there_has_no_events(tmp_path: Path) -> None:
    assert list(read_events(tmp_path / "absent")) == []
