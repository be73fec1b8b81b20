"""`nestlab media` for bare-metal machines: their cards, their disks, and how their owner gets in."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from builder.cli.frame import root
from tests.unit.cli.media_here import KEY, LAB, RHEL, XCPNG
from tests.unit.media import made


@pytest.fixture
def rack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with media and a lab that uses them; it is the working directory."""
    made.iso(tmp_path / "rhel.iso", RHEL)
    made.iso(tmp_path / "xcpng.iso", XCPNG, boot=False)
    (tmp_path / "lab.yaml").write_text(LAB)
    (tmp_path / "key.pub").write_text(KEY + "\n")
    monkeypatch.chdir(tmp_path)
    for name in ("STATE", "RUNTIME", "CACHE"):
        monkeypatch.setenv(f"NESTLAB_{name}", str(tmp_path / name))
    return tmp_path


def media(*arguments: str) -> Result:
    return CliRunner().invoke(root, ["media", *arguments], standalone_mode=False, catch_exceptions=False)


def test_a_bare_metal_machine_has_its_own_card(rack: Path) -> None:
    """The card of the lab's machine is made up: an answer file that names it leaves XCP-ng without a network."""
    said = media("build", "lab.yaml", "xen", "-o", "lab.iso").stderr
    assert "the answers name the card 52:54:00:" in said
    assert "nobody gets into xen" in said
    own = media("build", "lab.yaml", "xen", "-o", "own.iso", "--mac", "3C:EC:EF:00:00:01", "--ssh-key", "key.pub")
    assert not any(word in own.stderr for word in ("names the card", "nobody gets into"))
    image = made.content(rack / "own.iso", "/install.img")
    assert b'hwaddr="3c:ec:ef:00:00:01"' in image
    assert b"52:54:00" not in image and KEY.encode() in image
    (rack / "said.yaml").write_text(LAB.replace("xen: {", "xen: {management_mac: 3c:ec:ef:00:00:03, "))
    assert "names the card" not in media("build", "said.yaml", "xen", "-o", "said.iso").stderr
    assert b'hwaddr="3c:ec:ef:00:00:03"' in made.content(rack / "said.iso", "/install.img")
    media("volume", "lab.yaml", "el", "-o", "v.iso", "--mac", "el=3c:ec:ef:00:00:02", "--mac", "xen=3c:ec:ef:00:00:01")
    assert b"--device=3c:ec:ef:00:00:02" in made.content(rack / "v.iso", "/ks.cfg")


def test_disks_named_as_in_the_lab_are_told(rack: Path) -> None:
    text = LAB.replace("source: {medium: rhel.iso}", "source: {medium: rhel.iso}, install: {disk_names: by-id}")
    (rack / "by-id.yaml").write_text(text)
    assert "a: named as QEMU names its disks" in media("build", "by-id.yaml", "el", "-o", "o.iso").stderr
    (rack / "own.yaml").write_text(text.replace("by-id}", "by-id, devices: {a: /dev/nvme0n1}}"))
    assert "QEMU" not in media("build", "own.yaml", "el", "-o", "p.iso").stderr


def test_dom0_has_the_processors_of_the_labs_machine(rack: Path) -> None:
    """Two where nobody says, of which a rack's machine has more."""
    (rack / "big.yaml").write_text(LAB.replace("release: 8.3,", "release: 8.3, cpus: 32,"))
    told = "dom0 gets 2 processors, however many the machine has"
    assert told in media("build", "lab.yaml", "xen", "-o", "small.iso").stderr
    assert told not in media("build", "big.yaml", "xen", "-o", "big.iso").stderr
    assert told not in media("build", "lab.yaml", "el", "-o", "el.iso").stderr


def test_what_judges_remark_is_told(rack: Path) -> None:
    (rack / "suse.yaml").write_text("name: x\nnodes:\n  s: {system: suse, release: 16.0, source: {medium: rhel.iso}}\n")
    said = media("volume", "suse.yaml", "s", "-o", "v.iso")
    assert "[NLS115]" in said.stderr
