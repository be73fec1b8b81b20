"""mdadm.conf and what lies on disks, as mdadm of both releases reads them: on loop devices, without any array."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from builder.procedures import load_procedure
from builder.procedures.api import Write
from builder.procedures.options import parse_options
from builder.procedures.raid import about, barred, carriers, entries, examined
from tests.support.debs import unpacked

pytestmark = pytest.mark.integration

UUID = "53461f34:2414371e:820f9514:008b6458"
OTHER = "09871a29:26fa7ce1:0c9b040a:60f5cabf"
PACKAGES = ("mdadm", "libc6", "libudev1", "libcap2", "libgcc-s1")
# mdadm makes device nodes and a map of arrays: here none that stay. There is no module md_mod to load.
_RUN = """\
mount --make-rprivate / && mount -t tmpfs none /mnt && cp -a /dev/null "$1" /mnt && mount --move /mnt /dev &&
mount -t tmpfs none /run && mount -t tmpfs none /sys/module || exit 99
shift
exec "$@"
"""


def superblock(uuid: str, name: str, *, number: int = 0) -> bytes:
    """struct mdp_superblock_1 of Linux' md_p.h, of a level 5 of three disks."""
    head = struct.pack("<IIII16s32s", 0xA92B4EFC, 1, 0, 0, bytes.fromhex(uuid.replace(":", "")), name.encode())
    head += struct.pack("<QIIQIII", 1 << 30, 5, 2, 30720, 1024, 3, 0) + bytes(28)
    head += struct.pack("<QQQQII", 2048, 30720, 8, 0, number, 0) + bytes([number + 1] * 16) + bytes(8)
    roles = struct.pack("<128H", *(place if place < 3 else 0xFFFF for place in range(128)))
    made = head + struct.pack("<QQQII", 1 << 30, 5, 2**64 - 1, 0, 128) + bytes(32) + roles
    total = sum(struct.unpack(f"<{len(made) // 4}I", made))
    return made[:216] + struct.pack("<I", ((total & 0xFFFFFFFF) + (total >> 32)) & 0xFFFFFFFF) + made[220:]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[str, str], str]]:
    """Makes a disk of the array of this UUID and name."""
    made: list[str] = []

    def make(uuid: str, name: str) -> str:
        path = tmp_path / f"disk{len(made)}"
        path.write_bytes(bytes(4096) + superblock(uuid, name).ljust((16 << 20) - 4096, b"\0"))
        done = subprocess.run(["losetup", "--find", "--show", path], capture_output=True, text=True, check=True)
        made.append(done.stdout.strip())
        return made[-1]

    yield make
    for each in made:
        subprocess.run(["losetup", "--detach", each], check=True)


@pytest.fixture(params=["12", "13"])
def mdadm(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., str]:
    """Runs it with this configuration, about one disk; what it prints and complains of."""
    tree = unpacked(request.param, PACKAGES)
    loader = next(path for path in tree.rglob("ld-linux-x86-64.so.2") if path.is_file() and not path.is_symlink())
    libraries = ":".join(str(path) for path in tree.rglob("x86_64-linux-gnu") if path.is_dir())
    program = next(path for path in tree.rglob("sbin/mdadm") if path.is_file())

    def call(config: str, device: str, *words: str) -> str:
        (tmp_path / "mdadm.conf").write_text(config)
        argv = [str(loader), "--library-path", libraries, str(program), *words, f"--config={tmp_path}/mdadm.conf"]
        done = subprocess.run(["unshare", "--mount", "sh", "-c", _RUN, "sh", device, *argv],
                              capture_output=True, text=True, check=False)  # fmt: skip
        said: str = done.stdout + done.stderr
        assert done.returncode != 99, said
        return said

    return call


OWNERS = (
    f"ARRAY /dev/md/987  metadata=1.2 UUID={UUID} name=XCP-ng:987\n",
    f"ARRAY /dev/md987 level=raid5\n# its disks\n   UUID={UUID}\n\n\tspare-group='a b'\n",
    f"arr\tmd987 uuid={UUID.upper().replace(':', '')}  # ours\n",
    f"ARRAY <ignore> UUID={UUID}\n",
    f"ARRAY /dev/md987 UUID={OTHER}\nARRAY /dev/md/987 UUID={UUID}\n",
)


@pytest.mark.parametrize("owners", OWNERS)
def test_mdadm_can_decide_what_an_array_is_called(
    owners: str, disk: Callable[[str, str], str], mdadm: Callable[..., str]
) -> None:
    device = disk(UUID, "XCP-ng:987")
    line = f"ARRAY /dev/md987 metadata=1.2 UUID={UUID}\n"
    words = ("--incremental", device)
    judged = ("cannot decide", "explicitly ignored", "same name", "only give one", "not permitted")
    twice = mdadm(owners + line, device, *words) + mdadm(owners + line, device, "--assemble", "--scan")
    assert any(each in twice for each in judged), twice
    procedure = load_procedure("raid-storage")
    way: Any = procedure.ways["xl"]
    asked = parse_options(procedure, {"level": "5", "disks": "sdb,sdc,sdd", "array": "md987"})
    told = about(owners, "/dev/md987", UUID)
    state = way.sample.model_copy(
        update={"array": UUID, "version": "1.2", "level": "raid5", "config": owners, "line": told}
    )
    written = next(each.content for each in way.actions(state, asked) if isinstance(each, Write))
    said = mdadm(written, device, *words) + mdadm(written, device, "--assemble", "--scan")
    assert not any(each in said for each in judged), said
    assert [(each.node, each.uuid) for each in entries(written)] == [("/dev/md987", UUID)]


@pytest.mark.parametrize("devices", [
    "DEVICE /dev/sda\n", "DEVICE /dev/sda\n   /dev/sdb\n", "dev /dev/loo?/*\n", "DEVICE /dev/*\n",
    "DEVICE /dev/loop*\n",
    "DEVICE partitions\n", "device PARTITIONS\n", "# DEVICE /dev/sda\n", "DEVICE /*\n", "",
])  # fmt: skip
def test_disks_that_mdadm_may_not_look_at_are_the_same_ones(
    devices: str, disk: Callable[[str, str], str], mdadm: Callable[..., str]
) -> None:
    device = disk(UUID, "XCP-ng:987")
    said = mdadm(devices, device, "--incremental", device)
    assert barred(devices, [(device,)]) == ((device,) if "not permitted by mdadm.conf" in said else ()), said


def test_arrays_of_one_name_and_of_none_are_told_apart(
    disk: Callable[[str, str], str], mdadm: Callable[..., str]
) -> None:
    for uuid, name in ((UUID, "XCP-ng:0"), (OTHER, "other:0"), (OTHER[::-1], ""), (UUID[::-1], "dom0:my store")):
        device = disk(uuid, name)
        said = mdadm(f"DEVICE {device}\n", device, "--examine", "--brief", "--scan", "--verbose")
        assert set(examined(said).values()) == {uuid} and carriers(said, uuid) == (device,), said
        brief = mdadm(f"DEVICE {device}\n", device, "--examine", "--brief", "--scan")
        assert set(examined(brief).values()) == {uuid}, brief
