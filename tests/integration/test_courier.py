"""A node's files as they arrive on another machine, read there by qemu-img and qemu-io: a shell in the place of ssh."""

from __future__ import annotations

import hashlib
import json
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from builder.drivers.outpost_link import Outpost
from builder.errors import UsageError
from builder.images.overlays import SEED_OFFSET, create_disk, create_overlay, seed_bytes, write_seed
from builder.lifecycle.courier import Courier
from builder.model.plan import File
from builder.paths import Places

pytestmark = pytest.mark.integration

FILES = (File(path="/etc/hostname", content="a\n"),)


class There:
    """A lab's folder here, and the courier to `root`. `told` are the phases that it told of."""

    def __init__(self, scratch: Path) -> None:
        self.root = scratch / "there"
        self.outpost = Outpost("there", lambda command: ["sh", "-c", command], root=str(self.root))
        self.outpost.ask("open", lab="x-1", owner={})
        self.folder = scratch / "labs/x"
        (self.folder / "nodes/a").mkdir(parents=True)
        self.told: list[tuple[str, str]] = []
        places = Places(scratch / "state", scratch / "cache", scratch / "run")
        (places.cache / "media").mkdir(parents=True)
        self.courier = Courier(places, self.folder, self.outpost, self._tell, threading.Event())

    def _tell(self, kind: str, **data: Any) -> None:
        self.told.append((kind, data["phase"]))

    def send(self, file: Path) -> Path:
        return Path(self.courier.send(file))


@pytest.fixture
def there(tmp_path: Path) -> Iterator[There]:
    made = There(tmp_path)
    yield made
    made.outpost.close()


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """40 MiB, with something in its last block and where the seed goes."""
    path = create_disk(tmp_path / "image.qcow2", 40 << 20)
    for where in ("0 64k", f"{SEED_OFFSET} 1M", f"{(40 << 20) - 4096} 4k"):
        qemu_io(path, f"write -q -P 7 {where}")
    return path


def qemu_io(disk: Path, command: str) -> None:
    done = subprocess.run(
        ["qemu-io", "-f", "qcow2", "-c", command, disk], capture_output=True, text=True, check=True, timeout=60
    )
    assert "failed" not in done.stdout, done.stdout


def info(disk: Path) -> dict[str, Any]:
    told = subprocess.run(["qemu-img", "info", "--output=json", disk], capture_output=True, check=True).stdout
    return dict(json.loads(told))


def test_an_overlay_reads_the_base_that_is_there_and_holds_its_seed(there: There, image: Path) -> None:
    overlay = create_overlay(image, there.folder / "nodes/a/boot.qcow2", 64 << 20)
    write_seed(overlay, FILES)
    before = overlay.read_bytes()
    arrived = there.send(overlay)
    assert overlay.read_bytes() == before, "ours is as it was"
    digest = hashlib.sha256(image.read_bytes()).hexdigest()
    base = there.root / "store" / digest
    assert info(arrived)["full-backing-filename"] == str(base) and info(arrived)["backing-filename-format"] == "qcow2"
    assert info(arrived)["virtual-size"] == 64 << 20 and base.read_bytes() == image.read_bytes()
    image.unlink()  # what is there needs nothing of ours
    qemu_io(arrived, "read -q -P 7 0 64k")
    qemu_io(arrived, f"read -q -P 7 {(40 << 20) - 4096} 4k")
    raw = arrived.with_suffix(".raw")
    subprocess.run(["qemu-img", "convert", "-O", "raw", arrived, raw], check=True)
    seed = seed_bytes(FILES)
    with raw.open("rb") as file:
        file.seek(SEED_OFFSET)
        assert file.read(len(seed)) == seed
    subprocess.run(["qemu-img", "check", "-q", arrived], check=True)


def test_what_the_guest_wrote_is_not_sent_over(there: There, image: Path) -> None:
    overlay = create_overlay(image, there.folder / "nodes/a/boot.qcow2")
    arrived = there.send(overlay)
    qemu_io(arrived, "write -q -P 9 0 4k")
    assert there.send(overlay) == arrived
    qemu_io(arrived, "read -q -P 9 0 4k")
    create_disk(overlay, 40 << 20)  # made anew, as for an installation that begins again
    assert there.send(overlay) == arrived
    qemu_io(arrived, "read -q -P 0 0 4k")


def test_a_medium_is_read_by_its_overlay_there(there: There, tmp_path: Path) -> None:
    iso = tmp_path / "medium.iso"
    iso.write_bytes(b"m" * (9 << 20))
    overlay = there.folder / "nodes/a/medium.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", iso, "-F", "raw", overlay], check=True)
    arrived = there.send(overlay)
    assert info(arrived)["backing-filename-format"] == "raw"
    qemu_io(arrived, f"read -q -P {ord('m')} 0 9M")
    assert there.told == [("begin", "upload"), ("end", "upload")], "a large file is told of"


def test_an_image_that_reads_another_is_refused(there: There, image: Path, tmp_path: Path) -> None:
    """Sent alone it would read nothing, or what somebody put there under that name."""
    chained = create_overlay(image, tmp_path / "own.qcow2")
    with pytest.raises(UsageError, match=r"own.qcow2 reads from another image") as caught:
        there.send(create_overlay(chained, there.folder / "nodes/a/boot.qcow2"))
    assert "qemu-img convert" in str(caught.value.hint)


def test_a_medium_that_changed_meanwhile_is_not_taken_for_what_it_was(there: There, tmp_path: Path) -> None:
    iso = tmp_path / "medium.iso"
    iso.write_bytes(b"one")
    first = there.send(iso)
    iso.write_bytes(b"two!")
    second = there.send(iso)
    assert (first.read_bytes(), second.read_bytes()) == (b"one", b"two!")
