"""The suite of components and the medium of `ci.debian_installer`, looked at by the installer's own programs."""

from __future__ import annotations

import gzip
import re
import subprocess
from pathlib import Path

import pytest

from ci.debian_installer.medium import medium
from ci.debian_installer.suite import NAME, Suite, suite
from tests.support.installer import initrd

pytestmark = pytest.mark.integration

_PATH = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}


@pytest.fixture(scope="module")
def made() -> Suite:
    return suite("13")


@pytest.fixture(scope="module")
def tree(made: Suite, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the kernel unpacks of the medium's initrd: the installer's own archive, and the one behind it."""
    folder = tmp_path_factory.mktemp("medium")
    extract = ["xorriso", "-osirrox", "on", "-indev", str(medium("13", made)), "-extract", "/install.amd/initrd.gz"]
    subprocess.run([*extract, folder / "initrd.gz"], check=True, capture_output=True)
    packed = (folder / "initrd.gz").read_bytes()
    vendors = (made.installer / "initrd.gz").read_bytes()
    assert packed.startswith(vendors)
    root = initrd("13", folder / "tree")
    subprocess.run(["cpio", "-idmu", "--quiet"], input=gzip.decompress(packed[len(vendors) :]), cwd=root, check=True)
    return root


def inside(tree: Path, *argv: str) -> str:
    done = subprocess.run(["chroot", tree, *argv], capture_output=True, text=True, check=False, env=_PATH)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_every_component_is_unpacked_and_has_what_it_depends_on(made: Suite, tree: Path) -> None:
    status = (tree / "var/lib/dpkg/status").read_text()
    unpacked = set(re.findall(r"^Package: (\S+)\nStatus: install ok unpacked$", status, re.MULTILINE))
    assert {*made.from_mirror, *made.remade} <= unpacked
    assert not unpacked & set(made.left_out)
    offered = unpacked | set(re.findall(r"^Package: (\S+)", status, re.MULTILINE))
    for line in re.findall(r"^Provides: (.*)$", status, re.MULTILINE):
        offered |= {word.split()[0] for word in line.split(",")}
    for line in re.findall(r"^Depends: (.*)$", status, re.MULTILINE):
        assert all(any(w.split()[0] in offered for w in group.split("|")) for group in line.split(",")), line


@pytest.mark.parametrize("module", ["sym53c8xx", "e1000", "ext4", "raid10", "dm-mod", "isofs", "sr_mod", "virtio_blk"])
def test_the_installers_modprobe_finds_the_drivers(made: Suite, tree: Path, module: str) -> None:
    files = inside(tree, "modprobe", "-S", made.kernel, "--show-depends", module).split()
    assert all((tree / word.lstrip("/")).is_file() for word in files if word.startswith("/")) and "insmod" in files


def test_its_gpgv_trusts_the_suite_with_the_mediums_keys(made: Suite, tree: Path) -> None:
    for name in ("Release", "Release.gpg"):
        (tree / name).write_bytes((made.archive / "dists" / NAME / name).read_bytes())
    command = ("gpgv", "--keyring", "/usr/share/keyrings/archive.gpg", "/Release.gpg", "/Release")
    assert "Good signature" in inside(tree, *command)
    (tree / "Release").write_bytes((tree / "Release").read_bytes() + b"\n")
    with pytest.raises(AssertionError, match="BAD signature"):
        inside(tree, *command)


@pytest.mark.parametrize("tool", ["mke2fs -V", "e2fsck -V", "tune2fs", "resize2fs"])
def test_the_remade_tools_find_their_libraries(tree: Path, tool: str) -> None:
    """Two of them have no option for it: without arguments they tell their version, and fail."""
    said = subprocess.run(["chroot", tree, *tool.split()], capture_output=True, text=True, check=False, env=_PATH)
    assert f"{tool.split(maxsplit=1)[0]} 1.47" in said.stdout + said.stderr


def test_the_index_tells_the_files_as_they_are(made: Suite) -> None:
    index = made.archive / "dists" / NAME / "main/debian-installer/binary-amd64/Packages"
    sums = re.findall(r"^Filename: (\S+)\nSize: (\d+)\nSHA256: ([0-9a-f]{64})$", index.read_text(), re.MULTILINE)
    assert len(sums) == len(made.udebs)
    said = subprocess.run(
        ["sha256sum", "--check", "--strict"], input="".join(f"{digest}  {name}\n" for name, _, digest in sums),
        text=True, cwd=made.archive, capture_output=True, check=False,
    )  # fmt: skip
    assert (said.returncode, said.stderr) == (0, "")
