"""Arrays of real disks while they are in use: another policy, disks in another order, and the plug pulled."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from builder.model.host import Host
from tests.support.lab import ROOT, bench
from tests.support.procedure_lab import Lab, sh

pytestmark = pytest.mark.e2e

MADE = ("raid-storage", "level=5", "disks=sdb,sdc,sdd")
# Writes small pieces all over the array from its 32nd MiB on, past every cache, until it is ended or fails.
_WRITER = """\
rm -f /run/nestlab-failed
setsid sh -c 'i=0
while [ ! -e /run/nestlab-enough ]; do
  dd if=/dev/urandom of=/dev/md0 bs=4k count=1 seek=$((8192 + i * 37 % 65536)) oflag=direct conv=notrunc 2>/dev/null ||
    { touch /run/nestlab-failed; exit 1; }
  i=$((i + 1))
done' >/dev/null 2>&1 </dev/null &
"""
# What was written before, read back past every cache.
_SUM = "dd if=/dev/md0 bs=1M count=8 iflag=direct 2>/dev/null | sha256sum"


@pytest.fixture
def lab() -> Iterator[Lab]:
    with bench() as made:
        yield Lab(made, ROOT / "labs/raid-sr.yaml")


def settled(host: Host) -> None:
    """Nothing goes on in the array, and all its disks are in it."""
    sh(host, "mdadm --wait /dev/md0 || :; mdadm --detail /dev/md0 | grep -Eq 'State : (clean|active) *$'", timeout=1800)


def parity_is_right(host: Host) -> bool:
    """Every stripe read and compared: md counts the sectors that do not fit."""
    sh(host, "echo check >/sys/block/md0/md/sync_action; mdadm --wait /dev/md0 || :", timeout=1800)
    return sh(host, "cat /sys/block/md0/md/mismatch_cnt").strip() == "0"


def test_another_policy_while_it_is_written_to(lab: Lab) -> None:
    """Refused while it is built up; then changed under load, there after a restart, and brought back."""
    host = lab.world.host("dom0")
    sh(host, "sysctl -q -w dev.raid.speed_limit_max=1000")
    lab.does("run", "dom0", *MADE)
    assert "md0 is at work: resync" in lab.refused("dom0", "raid-policy", "policy=ppl", code="busy")
    sh(host, "sysctl -q -w dev.raid.speed_limit_max=200000")
    settled(host)
    sh(host, _WRITER)
    for wanted in ("ppl", "resync", "bitmap", "ppl"):
        assert "done, and seen" in lab.does("run", "dom0", "raid-policy", f"policy={wanted}")
    assert "nothing was changed" in lab.does("run", "dom0", "raid-policy", "policy=ppl")
    said = lab.refused("dom0", *MADE, code="other-policy")
    assert "its policy is ppl" in said
    sh(host, "touch /run/nestlab-enough; sleep 5; [ ! -e /run/nestlab-failed ]")
    assert parity_is_right(host)
    host.reboot(wait=3000)
    assert "nothing was changed" in lab.does("run", "dom0", "raid-policy", "policy=ppl")
    assert "undone" in lab.does("undo", "dom0", "raid-policy", "array=md0")
    assert "Consistency Policy : bitmap" in sh(host, "mdadm --detail /dev/md0")
    sh(host, "mkfs.ext4 -q -F /dev/md0")
    status, said = lab.procedure("undo", "dom0", "raid-storage", "array=md0")
    assert status == 1 and "/dev/md0 holds: " in said and "nothing was done before it" in said
    sh(host, "wipefs -q -a /dev/md0")
    lab.does("undo", "dom0", "raid-storage", "array=md0")


def test_disks_in_another_order(lab: Lab) -> None:
    """They have other names after the next power-on, and it is the same array."""
    lab.does("run", "dom0", *MADE)
    host = lab.world.host("dom0")
    settled(host)
    sh(host, "dd if=/dev/urandom of=/dev/md0 bs=1M count=8 oflag=direct")
    before = sh(host, _SUM)
    lab.world.order_disks("dom0", ["system", "raid5", "raid3", "raid4", "raid1", "raid2", "raid0"])
    lab.world.power_cycle("dom0")
    host = lab.world.host("dom0")
    assert "nothing was changed" in lab.does("run", "dom0", *MADE)
    assert sh(host, _SUM) == before
    lab.does("undo", "dom0", "raid-storage", "array=md0")
    assert sh(host, "mdadm --examine --brief --scan") == "", "its own disks are to be cleared, whatever they are called"


@pytest.mark.parametrize("policy", ["bitmap", "ppl"])
def test_the_plug_is_pulled_while_it_is_written_to(lab: Lab, policy: str) -> None:
    """It comes up by itself, what was written before is there, and every stripe fits its parity."""
    lab.does("run", "dom0", *MADE, f"policy={policy}")
    host = lab.world.host("dom0")
    settled(host)
    sh(host, "dd if=/dev/urandom of=/dev/md0 bs=1M count=8 oflag=direct")
    before = sh(host, _SUM)
    sh(host, "echo 10 >/sys/block/md0/md/safe_mode_delay")  # not called clean between one write and the next
    sh(host, f"{_WRITER} sleep 10; [ ! -e /run/nestlab-failed ]; grep -qx active /sys/block/md0/md/array_state")
    lab.world.power_cycle("dom0")
    host = lab.world.host("dom0")
    assert "nothing was changed" in lab.does("run", "dom0", *MADE, f"policy={policy}")
    settled(host)
    assert sh(host, _SUM) == before
    assert parity_is_right(host)
