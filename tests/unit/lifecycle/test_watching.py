"""How a machine ended, told from what QEMU says and what was planned. Its events are measured in test_libvirt."""

from __future__ import annotations

import queue
import time

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
