"""The boot loader of a guest whose disk debootstrap fills: each release's own pygrub finds on it what to start."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.support.debs import kernel_package, merged, unpacked
from tests.support.domains import Case, file_disk, guest, made

pytestmark = pytest.mark.integration

# pygrub with what it needs to run, of the release that it is for.
XEN = {"12": "4.17", "13": "4.20"}
PYTHON = {"12": "3.11", "13": "3.13"}
EXT2 = {"12": "libext2fs2", "13": "libext2fs2t64"}
COMMON = ("libc6", "zlib1g", "libexpat1", "libcom-err2", "libtinfo6", "libncursesw6", "libffi8")


@pytest.fixture(scope="module", params=["12", "13"])
def release(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def kernel(release: str) -> Path:
    """The release's own."""
    return next(unpacked(release, [kernel_package(release)]).rglob("boot/vmlinuz-*"))


@pytest.fixture(scope="module")
def root(release: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree that pygrub is run in."""
    python = PYTHON[release]
    packages = (
        f"xen-utils-{XEN[release]}", f"libxenmisc{XEN[release]}", f"python{python}-minimal",
        f"libpython{python}-minimal", f"libpython{python}-stdlib", *COMMON, EXT2[release],
    )  # fmt: skip
    tree = merged(release, packages, tmp_path_factory.mktemp("root") / "tree")
    (tree / "usr/lib64").mkdir(exist_ok=True)
    if not (tree / "lib64").exists():
        (tree / "lib64").symlink_to("usr/lib64")
    for loader in (tree / "usr/lib/x86_64-linux-gnu").glob("ld-linux-x86-64.so.2"):
        if not (tree / "usr/lib64/ld-linux-x86-64.so.2").exists():
            (tree / "usr/lib64/ld-linux-x86-64.so.2").symlink_to(f"/usr/lib/x86_64-linux-gnu/{loader.name}")
    for name in ("tmp", "dev"):
        (tree / name).mkdir(exist_ok=True)
    return tree


def grub_cfg(arguments: tuple[str, ...]) -> str:
    """What the script that makes a guest puts on its disk."""
    it = guest(boot="pygrub", disks=(file_disk(0),), made=made("debootstrap"), arguments=arguments)
    script = next(file.content for file in Case(it).files if file.path.endswith("/make"))
    found = re.search(r"grub\.cfg\" <<'END'\n(.*?)^END$", script, re.DOTALL | re.MULTILINE)
    assert found
    return found[1]


@pytest.fixture
def disk(root: Path, kernel: Path, tmp_path: Path) -> Path:
    """As debootstrap leaves one: the release's kernel, and links to it at the top."""
    tree = tmp_path / "guest"
    (tree / "boot/grub").mkdir(parents=True)
    (tree / f"boot/{kernel.name}").write_bytes(kernel.read_bytes())
    (tree / "boot/initrd.img-own").write_bytes(b"an initrd\n" * 1000)
    (tree / "vmlinuz").symlink_to(f"boot/{kernel.name}")
    (tree / "initrd.img").symlink_to("boot/initrd.img-own")
    (tree / "boot/grub/grub.cfg").write_text(grub_cfg(("quiet", "a.b=c")))
    made_disk = root / "tmp/disk"
    made_disk.write_bytes(b"")
    os.truncate(made_disk, 128 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-d", tree, made_disk], check=True, capture_output=True)
    return made_disk


def pygrub(release: str, root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    python, program = f"/usr/bin/python{PYTHON[release]}", f"/usr/lib/xen-{XEN[release]}/bin/pygrub"
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "TERM": "dumb"}
    call = ["chroot", str(root), python, program, *words]
    return subprocess.run(call, capture_output=True, text=True, check=False, env=environment)


@pytest.mark.usefixtures("disk")
def test_pygrub_finds_kernel_initrd_and_arguments(release: str, root: Path, kernel: Path) -> None:
    (root / "tmp/out").mkdir(exist_ok=True)
    done = pygrub(release, root, "-q", "--output-format=simple", "--output-directory=/tmp/out", "/tmp/disk")
    assert done.returncode == 0, done.stderr
    said = dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)
    assert said["args"] == "root=/dev/xvda ro console=hvc0 quiet a.b=c"
    found, ramdisk = (root / said[name].lstrip("/") for name in ("kernel", "ramdisk"))
    assert found.read_bytes() == kernel.read_bytes()
    assert ramdisk.read_bytes() == b"an initrd\n" * 1000


def test_a_disk_without_a_menu_is_told(release: str, root: Path, disk: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    subprocess.run(["mkfs.ext4", "-q", "-F", "-d", tmp_path / "empty", disk], check=True, capture_output=True)
    done = pygrub(release, root, "-q", "--output-format=simple", "/tmp/disk")
    assert done.returncode != 0 and "kernel" not in done.stdout
