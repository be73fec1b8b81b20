"""While a node's disks become an image they are for a moment the image's own files: whatever fails or is killed then,
no host is ever started from one, and no installed disk is lost. Steps by hand, on a small file system of their own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from builder.errors import LabError
from builder.images.overlays import backing_of
from builder.images.store import ImageStore
from builder.lifecycle import install
from builder.lifecycle.accelerator import AcceleratorVerdict
from builder.paths import Places
from tests.integration import media_sources as media
from tests.support.install_keeper import BEFORE, Keeper, images, installed

pytestmark = pytest.mark.integration

_KILLED_IN = ("install.py", "store.py")
_MOST_KILLS = 60
_RECORDS = 48 << 10
"""Bytes for what a lab writes down, too few for an overlay."""


@pytest.fixture
def places(tmp_path: Path) -> Iterator[Places]:
    """All in one file system, where a disk can be a file of the image's too."""
    room = tmp_path / "room"
    room.mkdir()
    media.sh("mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", room)
    yield Places(room / "state", room / "cache", room / "run")
    media.sh("umount", "--lazy", room)


def fill(places: Places, leave: int = _RECORDS) -> Path:
    """Leave that many bytes of room."""
    root = places.state.parent
    told = os.statvfs(root)
    (root / "filling").write_bytes(b"x" * (told.f_bavail * told.f_frsize - leave))
    return root / "filling"


def holds(disk: Path, pattern: int) -> bool:
    read = ["qemu-io", "-r", "-U", "-c", f"read -q -P {pattern} 0 64k", str(disk)]
    return "failed" not in subprocess.run(read, capture_output=True, text=True, check=True).stdout


def check_started(keeper: Keeper) -> None:
    """The installed disks are there, and what the host writes to them is in no image."""
    kept = [disk for image in ImageStore(keeper.places.cache).ls() for disk in image.disks]
    for disk in keeper.disks:
        assert holds(disk, 7), "the installed disk is lost"
        assert not any(disk.samefile(image) for image in kept)
        subprocess.run(["qemu-io", "-c", "write -q -P 9 0 64k", disk], check=True)
    assert all(holds(image, 7) for image in kept), "the host writes to the image"


def about_to_keep(places: Places, disks: int = 1) -> Keeper:
    keeper = Keeper(places, "one", disks=disks)
    keeper.do(*BEFORE)
    keeper.write()
    return keeper


def shared(places: Places, disks: int = 1) -> Keeper:
    """As a kill leaves it: the image was made, and the node does not know."""
    keeper = installed(places, disks=disks)
    (image,) = ImageStore(places.cache).ls()
    for disk, base in zip(keeper.disks, image.disks, strict=True):
        disk.unlink()
        disk.hardlink_to(base)
    (keeper.folder.node("a") / "origin").write_text("own\n")
    keeper.folder.record(keeper.step("keep"), None)
    return keeper.restarted()


def test_no_room_for_the_overlays_makes_no_image(places: Places) -> None:
    """Each may be the one that fails: there is room for what the image itself takes."""
    for room in (_RECORDS, 150 << 10, 300 << 10):
        keeper = about_to_keep(places, disks=2)
        filling = fill(places, leave=room)
        keeper.do("keep")
        assert images(places) == []
        assert all(disk.stat().st_nlink == 1 and backing_of(disk) is None for disk in keeper.disks)
        assert list(keeper.disk.parent.glob("*.new")) == []
        keeper.effects._installs.settle(keeper.plan.node("a"))
        check_started(keeper)
        keeper.effects.close()
        filling.unlink()
        shutil.rmtree(places.state)


def test_a_disk_that_is_the_images_own_goes_before_the_image_does(places: Places) -> None:
    """Killed in `keep`, and no room for the overlays the next time: another lab can install anew, this host is kept."""
    again = shared(places)
    again.do(*BEFORE)
    fill(places)
    again.do("keep")
    assert images(places) != [] and again.disk.samefile(images(places)[0])
    again.effects._installs.settle(again.plan.node("a"))
    assert images(places) == [] and again.disk.stat().st_nlink == 1
    check_started(again)


def test_a_disk_that_another_lab_stands_on_is_not_started_from(places: Places) -> None:
    again = shared(places)
    again.do(*BEFORE)
    clone = Keeper(places, "two")
    clone.do(*BEFORE)
    fill(places)
    again.do("keep")
    # The step itself: it ends before any machine is started, as it would fail for the lack of a kernel otherwise.
    again.effects._verdict = AcceleratorVerdict(accelerator="tcg", proven=True, reason="none is needed")
    with pytest.raises(LabError, match="No space left on device"):
        again.do("boot:disk")
    assert len(images(places)) == 1
    (places.state.parent / "filling").unlink()
    again.effects._installs.settle(again.plan.node("a"))
    assert again.effects._installs.is_clone("a") and again.effects._installs.has_keys(again.plan.node("a"))
    check_started(again)


def test_an_image_that_the_node_stands_on_is_held_though_nothing_says_so(places: Places) -> None:
    keeper = installed(places)
    (keeper.folder.node("a") / "origin").write_text("own\n")
    again = keeper.restarted()
    again.do(*BEFORE)
    assert not again.effects._installs.is_clone("a")
    again.effects._installs.settle(again.plan.node("a"))
    assert ImageStore(places.cache).prune(0) == ()
    check_started(again)


def test_blank_disks_are_never_made_in_the_images_file(places: Places) -> None:
    """Killed in `keep`, and the lab file asks for another installation since: more memory, say."""
    again = shared(places)
    again.do("medium", "identity")
    again.effects._installs.begin(again.plan.node("a"))
    (image,) = images(places)
    assert holds(image, 7) and not again.disk.samefile(image)


class _Killer:
    """A trace function: kills this process for good (SIGKILL) when the files of the lab and of the cache have changed
    for the nth time between two lines of what is followed."""

    def __init__(self, places: Places, nth: int) -> None:
        self._roots = (places.state, places.cache)
        self._left = nth
        self._seen = self._look()

    def __call__(self, frame: FrameType, event: str, _arg: object) -> Any:
        if Path(frame.f_code.co_filename).name not in _KILLED_IN:
            return None
        if event == "line" and (now := self._look()) != self._seen:
            self._seen = now
            self._left -= 1
            if not self._left:
                os.kill(os.getpid(), signal.SIGKILL)
        return self

    def _look(self) -> list[tuple[object, ...]]:
        found = [entry for root in self._roots for entry in root.rglob("*")]
        stats = [(entry, entry.lstat()) for entry in found]
        return sorted((str(path), s.st_ino, s.st_nlink, s.st_size, s.st_mtime_ns) for path, s in stats)


def killed_in(do: Callable[[], None], places: Places, nth: int) -> bool:
    """Whether a child that does this was killed; it came to its end otherwise."""
    child = os.fork()
    if not child:
        try:
            sys.settrace(_Killer(places, nth))
            do()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, -signal.SIGKILL)
    return code != 0


@pytest.mark.parametrize("full", [False, True], ids=["room", "full"])
def test_killed_between_any_two_steps_of_it(places: Places, full: bool) -> None:
    """Two disks, killed for good at every moment; then kept again, or (full) started without room for that."""
    assert Path(install.__file__).name in _KILLED_IN
    keeper = about_to_keep(places, disks=2)
    saved = places.state.parent / "saved"
    keeper = keeper.restarted()
    keeper.do("medium")
    for root in (places.state, places.cache):
        shutil.copytree(root, saved / root.name)
    had_image, kills = set(), 0
    while True:
        kills += 1
        assert kills < _MOST_KILLS
        killed = killed_in(lambda: keeper.do("keep"), places, kills)
        again = keeper.restarted()
        again.do(*BEFORE)
        assert again.is_done("boot:install"), "a finished installation is repeated"
        had_image.add((len(images(places)), sum(disk.stat().st_nlink == 2 for disk in again.disks)))
        filling = fill(places) if full else None
        again.do("keep")
        try:
            again.effects._installs.settle(again.plan.node("a"))
        except LabError:  # one has its overlay already, and there is no room for the other: a failure with a name
            assert filling is not None and len(images(places)) == 1
            filling.unlink()
            filling = None
            again.effects._installs.settle(again.plan.node("a"))
        if filling is not None:
            filling.unlink()
        check_started(again)
        again.effects.close()
        if not killed:
            break
        for root in (places.state, places.cache):
            shutil.rmtree(root)
            shutil.copytree(saved / root.name, root)
    # images, and disks that are the image's own: the moments that this is about were among them
    assert {(0, 0), (0, 1), (0, 2), (1, 2), (1, 1), (1, 0)} <= had_image
