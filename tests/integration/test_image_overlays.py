"""Overlays, thin disks and the seed, with QEMU's own tools as judges."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from builder.errors import CommandFailed, LabError
from builder.images.overlays import (
    SEED_OFFSET,
    SEED_SIZE,
    create_disk,
    create_overlay,
    seed_bytes,
    virtual_size,
    write_seed,
)
from builder.model.plan import File

pytestmark = pytest.mark.integration
GIB = 1 << 30


def info(path: Path) -> dict[str, object]:
    done = subprocess.run(["qemu-img", "info", "--output=json", path], check=True, capture_output=True, text=True)
    found: dict[str, object] = json.loads(done.stdout)
    return found


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return create_disk(tmp_path / "base.qcow2", GIB)


def test_overlays_are_thin_and_as_large_as_asked(base: Path, tmp_path: Path) -> None:
    overlay = create_overlay(base, tmp_path / "node one.qcow2", 50 * GIB)
    told = info(overlay)
    assert told["virtual-size"] == virtual_size(overlay) == 50 * GIB
    assert told["full-backing-filename"] == str(base) and told["backing-filename-format"] == "qcow2"
    assert overlay.stat().st_blocks * 512 < 1 << 20
    assert virtual_size(create_overlay(base, tmp_path / "small.qcow2", 1 << 20)) == GIB
    with pytest.raises(LabError, match="no qcow2"):
        virtual_size(Path(__file__))


def test_the_seed_lands_in_its_partition_and_nowhere_else(base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "with a blank"
    folder.mkdir()
    overlay = create_overlay(base, folder / "node.qcow2")
    files = (File(path="/etc/ssh/key", content="private\n", mode=0o600), File(path="/etc/hostname", content="n1\n"))
    digest = write_seed(overlay, files)
    raw = tmp_path / "raw"
    subprocess.run(["qemu-img", "convert", "-O", "raw", overlay, raw], check=True)
    with raw.open("rb") as disk:
        assert not disk.read(SEED_OFFSET).strip(b"\0")
        seed = disk.read(SEED_SIZE)
        assert seed.rstrip(b"\0") == seed_bytes(files).rstrip(b"\0")
        assert digest.encode() in seed[:512]
    assert sorted(path.name for path in folder.iterdir()) == ["node.qcow2"]
    assert subprocess.run(["qemu-img", "check", "-q", overlay], check=False).returncode == 0


def test_a_disk_that_a_machine_holds_is_not_written(base: Path, tmp_path: Path) -> None:
    overlay = create_overlay(base, tmp_path / "node.qcow2")
    holder = subprocess.Popen(
        [
            *("qemu-system-x86_64", "-machine", "none", "-display", "none", "-S", "-qmp", "stdio"),
            *("-drive", f"if=none,id=d0,file={overlay},format=qcow2"),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout is not None and b"QMP" in holder.stdout.readline()
        with pytest.raises(CommandFailed, match="lock"):
            write_seed(overlay, ())
    finally:
        holder.kill()
        holder.wait()
