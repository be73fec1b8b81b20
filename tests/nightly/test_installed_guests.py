"""Guests installed by debootstrap on a real Xen host: one is started by pygrub in dom0, one by GRUB in the guest, each
with the kernel that lies on its own disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.procedures.guests import is_running
from builder.systems.guests.files import SCRIPTS
from tests.support.lab import bench
from tests.support.procedure_lab import Lab, sh

pytestmark = pytest.mark.e2e

GUESTS = {"by-pygrub": "pygrub", "by-grub": "pvgrub2"}
FOLDER = "/var/lib/nestlab/guests"
# Until the guest asks who it is, or the time is up; by the name of the first, whose system both have. A console ends
# with its input.
CONSOLE = """
mkfifo /run/in
timeout 900 xl create -c /etc/xen/{0}.cfg <>/run/in >/run/{0}.log 2>&1 &
for i in $(seq 850); do ! grep -q 'by-pygrub login:' /run/{0}.log || break; sleep 1; done
kill $!
rm /run/in
cat /run/{0}.log
"""


def lab_text() -> str:
    """A host with both guests; the disk of the second is made as the first one's."""
    guests = "".join(
        f"      - {{name: {name}, memory: 384MiB, boot: {boot}, disks: [{{size: 2GiB}}], vifs: [{{}}],\n"
        "         make: {by: debootstrap, release: trixie}}\n"
        for name, boot in GUESTS.items()
    )
    return (
        "name: installed-guests\ndescription: Guests with systems of their own\nnodes:\n  dom0:\n    system: debian\n"
        f"    release: 13\n    memory: 4GiB\n    xen:\n      dom0_memory: 1GiB\n    guests:\n{guests}"
    )


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    file: Path = tmp_path_factory.mktemp("lab") / "installed-guests.yaml"
    file.write_text(lab_text(), "utf-8")
    with bench() as made:
        up = Lab(made, file)
        dom0 = up.world.host("dom0")
        first, second = GUESTS
        sh(dom0, f"{SCRIPTS}/{first}/make", timeout=2000)
        target = "sed -n 's/.*target=\\([^\"]*\\).*/\\1/p'"
        disks = {name: sh(dom0, f"{target} /etc/xen/{name}.cfg").strip() for name in GUESTS}
        sh(dom0, f"mkdir -p {FOLDER}/{second}; cp --sparse=always {disks[first]} {disks[second]}")
        assert "filled already" in sh(dom0, f"{SCRIPTS}/{second}/make")
        yield up


@pytest.mark.parametrize("name", GUESTS)
def test_a_guest_starts_from_its_own_disk(lab: Lab, name: str) -> None:
    dom0 = lab.world.host("dom0")
    said = sh(dom0, CONSOLE.format(name), timeout=1200)
    assert "Debian GNU/Linux" in said and "login:" in said, said[-3000:]
    assert is_running(dom0, name)
    sh(dom0, f"timeout 300 xl shutdown -w {name}")
    assert not is_running(dom0, name)
