"""What stands against a procedure, provoked on real Xen hosts: each reason is told, and the host is left as it was."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from builder.procedures import guests
from builder.procedures.asking import fields
from builder.procedures.guests import DRILL_GUEST, drill_guest
from tests.support.lab import ROOT, bench
from tests.support.procedure_lab import Lab, sh

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="class")
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    with bench() as made:
        yield Lab(made, ROOT / f"labs/{request.cls.LAB}.yaml")


class TestOneHost:
    LAB = "debian-dom0"

    def test_dom0_cannot_have_more_than_the_host(self, lab: Lab) -> None:
        said = lab.refused("dom0", "dom0-memory", "size=64GiB", code="larger-than-host")
        assert "of which Xen needs 256MiB" in said

    def test_running_guests_and_a_restart(self, lab: Lab) -> None:
        host = lab.world.host("dom0")
        with drill_guest(host):
            said = lab.refused("dom0", "nic-quirk", code="guests-run")
            assert f"guests run on it: {DRILL_GUEST}" in said
            sh(host, "apt-get -q update >/dev/null")
            package = sh(host, "dpkg-query -S /boot/xen-*-amd64.gz | cut -d: -f1 | head -n 1").strip()
            offered = sh(host, f"apt-cache madison {package} | cut -d'|' -f2").split()
            if len(set(offered)) > 1:  # what package sources have changes; there is nothing to refuse then
                lab.refused("dom0", "xen-upgrade", f"version={offered[-1]}", code="guests-run")
        assert offered[0] in lab.refused("dom0", "xen-upgrade", "version=1.2.3", code="not-offered")

    def test_a_guest_that_ignores_its_shutdown(self, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
        """It goes on running; the host is out of service until that is undone, and force=true ends the guest."""
        monkeypatch.setattr(guests, "_POWEROFF", "#!/bin/busybox sh\n")
        host = lab.world.host("dom0")
        with drill_guest(host):
            status, said = lab.procedure("run", "dom0", "maintenance", "wait=20")
            assert status == 1 and f"{DRILL_GUEST} does not shut down" in said and "force=true" in said
            assert guests.is_running(host, DRILL_GUEST)
            status, said = lab.procedure("undo", "dom0", "maintenance")
            assert status == 0 and guests.xendomains(host) == "enabled" and guests.is_running(host, DRILL_GUEST)
            status, said = lab.procedure("run", "dom0", "maintenance", "wait=20", "force=true")
            assert status == 0, said
            assert not guests.is_running(host, DRILL_GUEST)
            status, said = lab.procedure("undo", "dom0", "maintenance")
            assert status == 0 and guests.is_running(host, DRILL_GUEST)

    def test_the_network_that_the_host_is_managed_by(self, lab: Lab) -> None:
        card = sh(lab.world.host("dom0"), "ls /sys/class/net/xenbr0/brif | head -n 1").strip()
        assert f"{card} carries the way to this host" in lab.refused(
            "dom0", "bridge", f"card={card}", code="management"
        )
        lab.refused("dom0", "bridge", "name=xenbr0", code="name-taken")
        assert "nftables" in lab.refused("dom0", "bridge", "address=10.9.0.1/24", "nat=true", code="no-nft")
        assert "net-tools" in lab.refused("dom0", "guest-routed", code="no-ifconfig")


class TestTwoHosts:
    LAB = "two-dom0"

    def test_the_other_host_is_out_of_memory(self, lab: Lab) -> None:
        alpha, beta = lab.world.host("alpha"), lab.world.host("beta")
        words = ("guest-migrate", f"guest={DRILL_GUEST}", "to=beta", "via=beta.migration")
        with drill_guest(alpha):
            free = int(fields(sh(beta, "xl info"))["free_memory"])
            kernel = sh(beta, "uname -r").strip()
            config = f'name = "full"\ntype = "pv"\nkernel = "/boot/vmlinuz-{kernel}"\nmemory = {free - 100}\n'
            beta.write("/run/full.cfg", config.encode())
            sh(beta, "xl create -p -q /run/full.cfg")
            try:
                said = lab.refused("alpha", *words, code="no-memory", also="beta")
                assert "beta has " in said and "MiB free, the guest needs " in said
            finally:
                sh(beta, "xl destroy full")
            lab.refused("alpha", *words[:-1], "via=nowhere.internal", code="no-way", also="beta")
            lab.refused("alpha", "guest-migrate", "guest=nobody", "to=beta", code="not-running", also="beta")


class TestDisks:
    LAB = "raid-sr"

    def test_an_array_with_old_metadata(self, lab: Lab) -> None:
        host = lab.world.host("dom0")
        sh(host, "yes | mdadm --create /dev/md5 --run --level=1 --metadata=0.90 --assume-clean --raid-devices=2 "
           "/dev/sdb /dev/sdc")  # fmt: skip
        lab.refused("dom0", "raid-storage", "array=md5", "level=1", "disks=sdb,sdc", code="old-metadata")
        sh(host, "mdadm --stop /dev/md5")
        said = lab.refused("dom0", "raid-storage", "array=md5", "level=1", "disks=sdb,sdc", code="not-empty")
        assert "linux_raid_member" in said
        sh(host, "mdadm --zero-superblock /dev/sdb /dev/sdc")

    def test_a_disk_that_is_missing_at_the_start(self, lab: Lab) -> None:
        """The array comes up without it, which is told; put back, it is taken in again."""
        words = ("raid-storage", "array=md6", "level=5", "disks=sdb,sdc,sdd")
        status, said = lab.procedure("run", "dom0", *words)
        assert status == 0, said
        host = lab.world.host("dom0")
        sh(
            host,
            "mdadm --wait /dev/md6 || :; mdadm --detail /dev/md6 | grep -Eq 'State : (clean|active) *$'",
            timeout=1800,
        )
        lab.world.pull_disk("dom0", "raid0")
        host.reboot(wait=3000)
        status, said = lab.procedure("run", "dom0", *words)
        assert status == 1 and "disks that work: expected 3, seen 2" in said, said
        lab.world.insert_disk("dom0", "raid0")
        sh(host, "for host in /sys/class/scsi_host/*/scan; do echo '- - -' >$host; done; sleep 5")
        status, said = lab.procedure("run", "dom0", *words)
        assert status == 0 and "mdadm /dev/md6 --add /dev/sd" in said, said
        sh(host, "mdadm --wait /dev/md6 || :", timeout=1800)
        status, said = lab.procedure("run", "dom0", *words)
        assert status == 0 and "nothing was changed" in said, said
        assert lab.procedure("undo", "dom0", "raid-storage", "array=md6")[0] == 0
        assert sh(host, "mdadm --examine --brief --scan") == "", (
            "names of disks have changed: its own are to be cleared"
        )
