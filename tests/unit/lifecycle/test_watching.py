"""How a machine ended, told from what QEMU says and what was planned. Its events are measured in test_libvirt."""

from __future__ import annotations

import queue
import threading
import time
from pathlib import Path

import pytest

from builder.drivers.boot import Signal
from builder.lifecycle import watching
from builder.lifecycle.watching import End, _Ending


@pytest.mark.parametrize(
    ("planned", "reasons", "by"),
    [
        ("power-off", [], "power-off"),
        ("reboot", [], "reboot"),
        ("power-off", ["guest-reset"], "reboot"),
        ("reboot", ["guest-shutdown"], "power-off"),
        ("reboot", ["guest-reset", "guest-shutdown"], "power-off"),
        ("reboot", ["host-signal"], "reboot"),
    ],
)
def test_what_qemu_says_is_believed_before_what_was_planned(planned: End, reasons: list[str], by: End) -> None:
    ending = _Ending(queue.Queue(), planned)
    for reason in reasons:
        ending.told(reason)
    assert ending.by == by


def test_one_restart_told_twice_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "_ONE_RESET", 0.1)
    signals: queue.Queue[Signal] = queue.Queue()
    ending = _Ending(signals, "reboot")
    for _ in range(2):
        ending.told("guest-reset")
        ending.told("guest-reset")
        time.sleep(0.15)
    assert signals.qsize() == 2


def test_a_medium_that_gets_a_link_or_other_permissions_is_the_same_and_one_that_is_written_to_is_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(watching, "_MEDIUM_EVERY", 0.02)
    iso = tmp_path / "x.iso"
    iso.write_bytes(b"A" * 4096)
    signals: queue.Queue[Signal] = queue.Queue()
    over, looked = threading.Event(), threading.Semaphore(0)
    look = watching._identity

    def counted(path: Path) -> tuple[int, ...] | None:
        seen = look(path)
        looked.release()
        return seen

    monkeypatch.setattr(watching, "_identity", counted)
    watch = threading.Thread(target=watching._watch_medium, args=(iso, signals, over))
    watch.start()
    try:
        assert looked.acquire(timeout=10)
        iso.chmod(0o444)
        (tmp_path / "y.iso").hardlink_to(iso)
        for _ in range(3):
            assert looked.acquire(timeout=10)
        assert signals.empty()
        iso.chmod(0o644)
        iso.write_bytes(b"B" * 4096)
        assert signals.get(timeout=10) == "medium-gone"
    finally:
        over.set()
        watch.join()
