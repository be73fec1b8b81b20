"""Guests that a lab file declares, on real Xen: one starts with its host, one runs to its end, all are read by xl."""

from __future__ import annotations

import hashlib
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.lab import ROOT, Bench, bench

pytestmark = pytest.mark.e2e

LAB = ROOT / "labs/debian-guests.yaml"

# Two vCPUs that never rest, and programs of dom0 beside them that keep much in vector registers.
BESIDE_A_BUSY_GUEST = """\
set -e
folder=$(mktemp -d /run/busy.XXXXXX)
cd "$folder"
mkdir -p root/bin root/dev
cp /bin/busybox root/bin/
mknod root/dev/console c 5 1
printf '#!/bin/busybox sh\\nwhile :; do :; done\\n' > root/init
chmod 755 root/init
(cd root && find . | busybox cpio -o -H newc) > initrd 2> /dev/null
cat > busy.cfg <<END
name = "busy"
type = "pv"
kernel = "/vmlinuz"
ramdisk = "$folder/initrd"
memory = 160
vcpus = 2
extra = "rdinit=/init"
END
trap 'xl destroy busy; rm -rf "$folder"' EXIT
xl create -q busy.cfg
sleep 5
for at_once in 1 2; do
  for i in $(seq 20); do head -c 2000000 /dev/zero | sha256sum; done &
done | sort | uniq -c
"""


@pytest.fixture(scope="module")
def here() -> Iterator[Bench]:
    with bench() as made:
        made.run("up", LAB, timeout=900, check=True)
        yield made


def test_every_check_of_its_guests_passes(here: Bench, tmp_path: Path) -> None:
    junit = tmp_path / "junit.xml"
    done = here.run("test", LAB, "--", "-k", "test_guests.py", f"--junitxml={junit}", timeout=600)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    suite = ET.parse(junit).getroot().find("testsuite")
    assert suite is not None
    assert int(suite.attrib["tests"]) == 3
    assert (suite.attrib["failures"], suite.attrib["errors"], suite.attrib["skipped"]) == ("0", "0", "0")


def test_what_dom0_computes_is_right_beside_a_busy_guest(here: Bench) -> None:
    """QEMU's XSAVE does not heed CR0.TS: with it, dom0's programs got registers of guests."""
    done = here.run("exec", LAB, "dom0", "--", "sh", "-c", BESIDE_A_BUSY_GUEST, timeout=240, check=True)
    digest = hashlib.sha256(bytes(2_000_000)).hexdigest()
    assert done.stdout.split() == ["40", digest, "-"], done.stdout + done.stderr
