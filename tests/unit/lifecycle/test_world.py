"""The world around a lab's hosts where no keeper is needed to show it."""

from __future__ import annotations

import base64
import os
import signal
import socket
import threading
from pathlib import Path

import pytest

from builder.errors import LabError
from builder.lifecycle.protocol import Channel, notice_withdrawal
from builder.lifecycle.world import LabWorld
from builder.model.runtime import LabStatus, NodeStatus, SshTarget
from builder.paths import Places

PIECES = (b"header and frames", b"more frames", b"the rest")


@pytest.fixture
def world(tmp_path: Path) -> LabWorld:
    return LabWorld("x", Places(tmp_path / "state", tmp_path / "cache", tmp_path / "run"))


def test_an_interrupt_in_the_midst_of_a_piece_does_not_tear_the_capture(
    world: LabWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a busy network pieces come all the time: Ctrl-C meets the writing of one as often as the wait for the next."""
    ours, theirs = socket.socketpair()
    withdrawn = threading.Event()

    def keep() -> None:
        keeper = Channel(theirs)
        assert keeper.receive() is not None
        notice_withdrawal(keeper, withdrawn)
        for piece in PIECES[:2]:
            keeper.send({"data": base64.b64encode(piece).decode()})
        assert withdrawn.wait(10)
        keeper.send({"data": base64.b64encode(PIECES[2]).decode()})
        keeper.send({"result": {"frames": 3, "missed": 0}})

    threading.Thread(target=keep, daemon=True).start()
    monkeypatch.setattr(world, "_connect", lambda: Channel(ours))
    got: list[bytes] = []

    def write(data: bytes) -> None:
        if not got:
            os.kill(os.getpid(), signal.SIGINT)
        got.append(data)

    before = signal.getsignal(signal.SIGINT)
    assert world.capture_to("lan", seconds=60, receiver=write) == {"frames": 3, "missed": 0}
    assert tuple(got) == PIECES
    assert signal.getsignal(signal.SIGINT) is before


def test_a_keeper_that_hangs_is_left_by_a_second_interrupt(world: LabWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = socket.socketpair()

    def interrupt_twice() -> None:
        keeper = Channel(theirs)
        assert keeper.receive() is not None
        os.kill(os.getpid(), signal.SIGINT)
        assert keeper.receive() is None
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt_twice, daemon=True).start()
    monkeypatch.setattr(world, "_connect", lambda: Channel(ours))
    with pytest.raises(KeyboardInterrupt):
        world.capture_to("lan", seconds=60, receiver=len)
    theirs.close()


def test_a_node_that_is_off_is_said_to_be(world: LabWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its port may be another node's by now, of whatever lab: ssh's own words tell nobody what is wrong."""
    target = SshTarget(host="127.0.0.1", port=20000, user="root", identity_file="/i", known_hosts="/k")
    node = NodeStatus(name="a", system="tiny", release="13", state="stopped", ssh=target, console_log="/x")
    now = LabStatus(lab="x", state="dead", nodes=(node,))
    monkeypatch.setattr("builder.lifecycle.world.status", lambda *_: now)
    with pytest.raises(LabError, match="a is stopped") as caught:
        world.host("a")
    assert "nestlab up" in str(caught.value.hint)
    assert not world.running("a")
