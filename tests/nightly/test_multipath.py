"""labs/multipath.yaml on real Xen hosts: real LIO behind real open-iscsi and multipathd, and one of two paths cut while
something is written. Nothing may be lost: what the storage node then holds is compared, on its own disk."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from builder.lifecycle.world import LabWorld
from builder.systems.debian.served import serial_of, target_name
from builder.systems.xcp_ng_tests import scsi_id
from tests.support.lab import ROOT, Bench, bench

pytestmark = pytest.mark.e2e

LAB = ROOT / "labs/multipath.yaml"
NAME = "multipath"
TARGET = "iqn.2024-07.internal.nestlab:san"


@pytest.fixture(scope="module")
def here() -> Iterator[Bench]:
    with bench() as made:
        made.run("up", LAB, timeout=1500, check=True)
        yield made


@pytest.fixture(scope="module")
def world(here: Bench) -> LabWorld:
    return LabWorld(NAME, here.places)


def sh(world: LabWorld, node: str, script: str, *, timeout: float = 300) -> str:
    done = world.host(node).run(["sh", "-ec", script], timeout=timeout)
    assert done.ok, f"{script}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def disk(world: LabWorld) -> str:
    """The first LUN, by both paths: its name below /dev/mapper."""
    found = sh(world, "dom0", "iscsiadm -m discovery -t sendtargets -p san")
    assert sorted(line.split(",")[0] for line in found.splitlines()) == ["10.40.1.1:3260", "10.40.2.1:3260"]
    assert {line.split()[1] for line in found.splitlines()} == {TARGET}
    # Paths that fail are told soon, so that the test need not wait for two minutes; a disk that is there twice is
    # what multipathd is to take.
    sh(
        world,
        "dom0",
        f"""
        iscsiadm -m node -T {TARGET} -o update -n node.session.timeo.replacement_timeout -v 5
        printf 'defaults {{\\n find_multipaths yes\\n polling_interval 5\\n}}\\n' >/etc/multipath.conf
        modprobe dm_multipath
        systemctl restart multipathd
        iscsiadm -m node --login
    """,
    )
    return await_paths(world, 2)


def await_paths(world: LabWorld, count: int, seconds: float = 240) -> str:
    """The map of LUN 0, once so many of its paths are usable."""
    deadline = time.monotonic() + seconds
    while True:
        said = sh(world, "dom0", "multipathd show maps raw format '%w %N'; multipathd show paths raw format '%w %t'")
        rows = [line.split() for line in said.splitlines() if line.startswith("36001405")]
        maps = [row[0] for row in rows if len(row) == 2 and row[1].isdigit()]
        wanted = next((name for name in maps if name == lun_id(world)), None)
        usable = sum(1 for row in rows if row[0] == wanted and row[1] == "active")
        if wanted and usable == count:
            return f"/dev/mapper/{wanted}"
        assert time.monotonic() < deadline, said
        time.sleep(2)


def lun_id(world: LabWorld) -> str:
    """As the lab says it; that it is what udev says is what the test is about, too."""
    from builder.lifecycle.state import read_plan  # noqa: PLC0415 - of the lab that is up

    node = read_plan(world._places, NAME).node("san").node
    assert target_name(node) == TARGET
    return scsi_id(serial_of(node, "lun0"))


def test_a_path_is_cut_while_something_is_written(world: LabWorld, disk: str) -> None:
    sh(
        world,
        "dom0",
        f"""
        head -c 67108864 /dev/urandom >/var/tmp/sent
        (dd if=/var/tmp/sent of={disk} bs=64k oflag=direct; echo $? >/var/tmp/ended) </dev/null >/dev/null 2>&1 &
    """,
    )
    world.cut_path("dom0", "path-a")
    await_paths(world, 1)
    deadline = time.monotonic() + 240
    while not (status := sh(world, "dom0", "cat /var/tmp/ended 2>/dev/null || true")):
        assert time.monotonic() < deadline, "the writer hangs"
        time.sleep(2)
    assert status == "0\n"
    assert "I/O error, dev dm-" not in sh(world, "dom0", "dmesg")
    sent = sh(world, "dom0", "sha256sum </var/tmp/sent")
    # the target writes past the storage node's own cache, which may hold what udev read there at its start
    direct = "dd if=/dev/disk/by-id/scsi-0QEMU_QEMU_HARDDISK_lun0 bs=1M count=64 iflag=direct status=none"
    assert sh(world, "san", f"{direct} | sha256sum") == sent
    world.cut_path("dom0", "path-a", cut=False)
    await_paths(world, 2)


def test_the_folder_is_shared(world: LabWorld) -> None:
    sh(world, "dom0", "mount -t nfs san:/srv/nfs /mnt; echo kept >/mnt/note; umount /mnt", timeout=600)
    assert sh(world, "san", "cat /srv/nfs/note") == "kept\n"
