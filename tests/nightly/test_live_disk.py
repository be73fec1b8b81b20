"""A guest goes live from one real Xen host to another while it writes to a disk that both reach by iSCSI: every block
that it wrote is on the disk, and no more pings than allowed are lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.lab import ROOT, bench
from tests.support.procedure_lab import Lab, sh

pytestmark = pytest.mark.e2e

# labs/two-dom0.yaml with a storage node beside its hosts.
SAN = """
  san:
    memory: 2GiB
    disks:
      - {size: 16GiB}
      - {name: lun0, size: 1GiB}
    networks:
      - {network: storage, addresses: [10.10.0.9/24]}
    storage:
      iscsi: [lun0]
"""
# The drill restarts a host: it logs in again by itself, as the guest comes back to it.
LOGIN = """
printf 'InitiatorName=iqn.2024-07.internal.nestlab:%s\\n' "$(hostname)" >/etc/iscsi/initiatorname.iscsi
systemctl restart iscsid
iscsiadm -m discovery -t sendtargets -p 10.10.0.9
iscsiadm -m node -o update -n node.startup -v automatic
systemctl enable open-iscsi
iscsiadm -m node --login
udevadm settle
for i in $(seq 60); do ls /dev/disk/by-id/wwn-0x6001405* 2>/dev/null && exit 0; sleep 1; done
exit 1
"""


def lab_text() -> str:
    """The example with its name, its packages and one node more."""
    text = (ROOT / "labs/two-dom0.yaml").read_text("utf-8")
    text = text.replace("name: two-dom0\n", "name: live-disk\n").replace("packages: [", "packages: [open-iscsi, ")
    assert "open-iscsi" in text and "name: live-disk" in text
    return text.rstrip("\n") + SAN


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    file = tmp_path / "live-disk.yaml"
    file.write_text(lab_text(), "utf-8")
    with bench() as made:
        yield Lab(made, file)


def test_a_guest_loses_nothing_that_it_writes_while_it_goes(lab: Lab) -> None:
    disks = [sh(lab.world.host(node), LOGIN).split()[-1] for node in ("alpha", "beta")]
    assert disks[0] == disks[1], "the two hosts do not see the same disk"
    done = lab.here.run("procedure", "drill", lab.name, "guest-migrate", "guest=nestlab-drill", "to=beta",
                        "via=beta.migration", "address=10.10.0.77", f"disk={disks[0]}", "--node", "alpha",
                        timeout=1800)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
