"""The keeper's protocol over real sockets."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path

import pytest

from builder.errors import HostLacks, LabError
from builder.events import Event, EventLog, read_events
from builder.lifecycle.protocol import (
    Channel,
    KeeperGone,
    RemoteError,
    answer,
    answer_error,
    ask,
    connect,
    notice_withdrawal,
)


def answering(*lines: bytes) -> Channel:
    ours, theirs = socket.socketpair()

    def serve() -> None:
        assert Channel(theirs).receive() is not None
        for line in lines:
            theirs.sendall(line)
        theirs.close()

    threading.Thread(target=serve, daemon=True).start()
    return Channel(ours)


def test_a_result_comes_back_after_its_events() -> None:
    event = Event(v=1, seq=1, t_wall=0, t_mono=0, lab="x", kind="line", data={"text": "hi"})
    seen: list[Event] = []
    channel = answering(b'{"event":' + event.to_json().encode() + b"}\n", b'{"result": {"x": 1}}\n')
    assert ask(channel, "up", listener=seen.append) == {"x": 1}
    assert seen == [event]


def test_data_is_handed_over_as_it_was() -> None:
    pieces: list[bytes] = []
    channel = answering(b'{"data": "AAEC"}\n{"data": "/w=="}\n', b'{"result": {"frames": 2}}\n')
    assert ask(channel, "capture", receiver=pieces.append) == {"frames": 2}
    assert pieces == [b"\0\1\2", b"\xff"]


def test_an_interrupted_client_hears_the_rest() -> None:
    """Ctrl-C ends a capture: the keeper notices, and sends what it still has."""
    ours, theirs = socket.socketpair()
    channel, keeper, withdrawn = Channel(ours), Channel(theirs), threading.Event()
    notice_withdrawal(keeper, withdrawn)
    assert not withdrawn.wait(0.1)
    channel.finish()
    assert withdrawn.wait(10)
    keeper.send({"data": "AAEC"})
    keeper.send({"result": {"frames": 1}})
    pieces: list[bytes] = []
    assert answer(channel, "capture", receiver=pieces.append) == {"frames": 1}
    assert pieces == [b"\0\1\2"]
    keeper.close()
    with pytest.raises(KeeperGone):
        answer(channel, "capture")


def test_lines_split_anywhere_are_put_together() -> None:
    channel = answering(b'{"res', b'ult": ', b"[1]}", b"\n")
    assert ask(channel, "status") == [1]


def test_an_error_keeps_its_hint_and_exit_status() -> None:
    line = json.dumps(answer_error(HostLacks("no kvm", hint="modprobe kvm"))).encode() + b"\n"
    with pytest.raises(RemoteError, match="no kvm") as caught:
        ask(answering(line), "up")
    assert (caught.value.exit_code, caught.value.hint) == (3, "modprobe kvm")


def test_a_bug_in_the_keeper_is_called_one() -> None:
    told = answer_error(KeyError("x"))["error"]
    assert "bug" in told["hint"]


def test_a_keeper_that_dies_is_noticed() -> None:
    with pytest.raises(KeeperGone):
        ask(answering(), "up")


@pytest.mark.parametrize("line", [b"nonsense\n", b"[1]\n"])
def test_what_is_no_message_is_refused(line: bytes) -> None:
    with pytest.raises(LabError):
        ask(answering(line), "up")


def test_nobody_listening_is_none(tmp_path: Path) -> None:
    assert connect(tmp_path) is None
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(tmp_path / "keeper.sock"))
    stale.close()
    assert connect(tmp_path) is None


def test_event_numbers_go_on_after_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    log = EventLog("lab", path)
    log.emit("begin", step="a")
    log.emit("end", step="a", outcome="ok", secret="$6$abcdefgh$0123456789abcdef")
    log.close()
    with path.open("a") as file:
        file.write('{"v":1,"seq":3,"torn')
    log = EventLog("lab", path)
    log.emit("begin", step="b")
    log.close()
    events = list(read_events(path))
    assert [event.seq for event in events] == [1, 2, 3]
    assert events[1].data == {"secret": "***"}
    assert events[2].step == "b"


def test_events_of_many_threads_have_no_holes(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    seen: list[int] = []
    log = EventLog("lab", path, lambda event: seen.append(event.seq))

    def emit_fifty() -> None:
        for _ in range(50):
            log.emit("line", text="x")

    threads = [threading.Thread(target=emit_fifty) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close()
    assert seen == list(range(1, 401))
    assert [event.seq for event in read_events(path)] == seen
