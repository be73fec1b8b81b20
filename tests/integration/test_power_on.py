"""Power-ons of an installation, one after another, on real QEMU: what belongs to one is not taken for another's, and a
machine that goes away leaves a picture. There is nothing on these media: the machine stays in its firmware."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from builder.drivers.hooks import Report
from builder.drivers.virt import Domain, Libvirt
from builder.drivers.virt_errors import DomainGone
from builder.errors import NodeFailed, TimedOut
from builder.events import EventLog
from builder.images.overlays import create_disk
from builder.lifecycle import watching
from builder.lifecycle.booting import Boots
from builder.lifecycle.install import Inserted
from builder.lifecycle.request import UpOptions
from builder.lifecycle.site import Here
from builder.lifecycle.state import LabFolder
from builder.lifecycle.watching import watched
from builder.model.runtime import InstallMedia, SshTarget
from builder.paths import Places
from tests.integration import media_sources as media
from tests.support.guests import bare_xml
from tests.support.install_keeper import Keeper

pytestmark = pytest.mark.integration

PNG = b"\x89PNG\r\n\x1a\n"
BEGUN = Report("begin", "kernel", "Linux version 6")
"""Ends the first phase: its words are those that are awaited."""


class _Borrowed(Here):
    """This machine, with the one libvirt that a test process can have."""

    def __init__(self, places: Places, libvirt: Libvirt) -> None:
        super().__init__(places, "one", "embedded")
        self._given = libvirt

    def _open(self) -> Libvirt:
        return self._given


@dataclass(frozen=True)
class Machine:
    keeper: Keeper
    boots: Boots
    inserted: Inserted

    @property
    def screen(self) -> Path:
        return self.keeper.folder.node("a") / "screen.png"

    def boot(self, scale: float) -> None:
        self.boots.use(UpOptions(timeout_scale=scale), self.boots.site)
        plan = self.keeper.plan.node("a")
        self.boots.boot(plan, self.keeper.step("boot:install"), "tcg", threading.Event(), inserted=self.inserted)


NOWHERE = SshTarget(host="127.0.0.1", port=9, user="root", identity_file="none", known_hosts="none")


@pytest.fixture
def machine(embedded: Libvirt, tmp_path: Path) -> Iterator[Machine]:
    places = Places(tmp_path / "state", tmp_path / "cache", tmp_path / "run")
    keeper = Keeper(places, "one", end="reboot")
    folder = LabFolder(places, "one")
    folder.disks("a").mkdir()
    for path in (keeper.disk, medium := tmp_path / "medium.qcow2"):
        create_disk(path, 1 << 20)
    places.run("one").mkdir(parents=True)
    places.cache.mkdir(exist_ok=True)
    boots = Boots(places, "one", folder, EventLog("one").emit)
    site = _Borrowed(places, embedded)
    boots.use(UpOptions(), site)
    with contextlib.closing(boots), contextlib.closing(site):
        yield Machine(keeper, boots, Inserted(InstallMedia(medium=str(medium)), medium, queue.Queue()))


def end(domain: Domain) -> None:
    with contextlib.suppress(DomainGone):  # it may be gone before it has answered
        domain.qmp("system_reset")


def test_a_machine_that_ends_itself_leaves_its_last_picture(machine: Machine) -> None:
    def reset() -> None:
        """Once there is a picture: as a triple fault does, it says nothing on the console."""
        while not machine.screen.exists():
            time.sleep(0.1)
        end(machine.boots.powered("a").domain)

    resetting = threading.Thread(target=reset)
    resetting.start()
    with pytest.raises(NodeFailed) as caught:
        machine.boot(scale=2)
    resetting.join(10)
    assert caught.value.cause == "triple-fault"
    assert not machine.boots.is_running("a")
    assert machine.screen.read_bytes().startswith(PNG)


def test_a_picture_and_reports_of_an_earlier_start_are_forgotten(machine: Machine) -> None:
    older = machine.screen.with_suffix(".ppm")
    older.write_bytes(b"P6")
    machine.inserted.signals.put(BEGUN)
    with pytest.raises(TimedOut, match="phase kernel"):
        machine.boot(scale=0.05)
    assert not older.exists()
    assert machine.screen.read_bytes().startswith(PNG)


def test_a_picture_that_there_is_no_room_for_does_not_take_an_older_ones_place(
    machine: Machine, tmp_path: Path
) -> None:
    room = tmp_path / "room"
    room.mkdir()
    media.sh("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", room)
    try:
        with pytest.raises(TimedOut):
            machine.boot(scale=0.02)
        domain = machine.boots.powered("a").domain
        assert domain.screenshot(room / "screen.png")
        before = (room / "screen.png").read_bytes()
        with pytest.raises(OSError, match="No space left"), (room / "filling").open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 4096)
        assert not domain.screenshot(room / "screen.png")
        assert (room / "screen.png").read_bytes() == before
        assert sorted(path.name for path in room.iterdir()) == ["filling", "screen.png"]
        (room / "filling").unlink()
        assert domain.screenshot(room / "screen.png")
    finally:
        media.sh("umount", room)


def test_the_end_of_one_start_is_no_end_of_the_next(embedded: Libvirt, machine: Machine, tmp_path: Path) -> None:
    """The boot before had failed otherwise (a panic, say), so that nobody waited for its end any more."""
    for number in range(2):
        xml = bare_xml(tmp_path, f"w{number}", port=20994).replace("<on_reboot>restart", "<on_reboot>destroy")
        domain = embedded.start(xml)
        with (
            contextlib.ExitStack() as ending,
            watched(domain, NOWHERE, "reboot", machine.inserted, lambda: True, lambda: None) as signals,
        ):
            ending.callback(domain.destroy)
            if number == 0:
                end(domain)
                while domain.is_running():
                    time.sleep(0.05)
            time.sleep(3 * watching._LOOK_EVERY)
            if number == 1:
                with pytest.raises(queue.Empty):
                    signals.get_nowait()
                machine.inserted.signals.put(BEGUN)
                assert signals.get_nowait() is BEGUN
