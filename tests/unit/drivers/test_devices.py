"""Which disk the firmware tries in which turn, by the definition of a running domain. What is done to guests is held
against them in integration/test_net.py."""

from __future__ import annotations

import types
import xml.etree.ElementTree as ET
from collections.abc import Callable
from typing import Any, cast

import pytest

from builder.drivers import devices
from builder.drivers.devices import boot_turns, insert_disk
from builder.drivers.virt import Domain


def disk(path: str, order: int) -> str:
    return (
        f"<disk type='file' device='disk'><source file='{path}'/><boot order='{order}'/>"
        f"<alias name='scsi-{order}'/></disk>"
    )


class Running:
    """A domain of this definition, which takes what is plugged in."""

    node = "a"

    def __init__(self, *disks: str) -> None:
        self._xml = f"<domain><devices>{''.join(disks)}<interface/></devices></domain>"
        self.plugged: list[ET.Element] = []

    def xml(self) -> ET.Element:
        return ET.fromstring(self._xml)

    def change(self, _: str, what: Callable[[Any], object]) -> None:
        what(types.SimpleNamespace(attachDeviceFlags=lambda text, _flags: self.plugged.append(ET.fromstring(text))))


def domain(running: Running) -> Domain:
    return cast(Domain, cast(Any, running))


def test_turns_are_counted_whatever_the_numbers_are() -> None:
    assert boot_turns(domain(Running(disk("/b", 7), disk("/a", 2), disk("/c", 9)))) == {"/a": 1, "/b": 2, "/c": 3}
    assert boot_turns(domain(Running("<disk device='cdrom'><source file='/m'/><boot order='1'/></disk>"))) == {}


def test_a_disk_that_is_plugged_in_again_is_tried_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "import_libvirt", lambda: types.SimpleNamespace(VIR_DOMAIN_AFFECT_LIVE=1))
    running = Running(disk("/b", 2), disk("/c", 5), "<disk device='cdrom'><boot order='6'/></disk>")
    assert insert_disk(domain(running), ET.fromstring(disk("/a", 1)), "/a") is True
    assert [element.find("boot").get("order") for element in running.plugged] == ["7"]  # type: ignore[union-attr]
    assert insert_disk(domain(running), ET.fromstring(disk("/b", 1)), "/b") is False
    assert len(running.plugged) == 1
