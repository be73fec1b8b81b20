"""An XCP-ng medium from the lab file to the verified host: remastered, installed unattended, started from its disk.

The installer on the medium is a stand-in of ours (tests/support/xcpng_installer): the vendor's is not ours to ship. The
medium's layout, Xen, the kernel, the boot loaders, and everything that nestlab does, are real.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.lab import Bench, bench, private_cache
from tests.support.xcpng_installer.labs import LEFT_OUT, MARK, lab_text
from tests.support.xcpng_installer.medium import stand_in_medium

pytestmark = pytest.mark.e2e

NAME = "stand-in-8-3-bios"
INSTALL = ["hypervisor", "dom0 kernel", "installer", "answers", "disks", "packages", "settings", "end"]
START = ["hypervisor", "dom0 kernel", "services", "ssh"]


@pytest.fixture(scope="module")
def here() -> Iterator[Bench]:
    with bench() as made:
        private_cache(made)
        made.run(
            "up", made.lab(lab_text(stand_in_medium(), "8.3", "bios", scripts=made.scratch)), timeout=600, check=True
        )
        yield made


def test_both_boots_were_followed_phase_by_phase(here: Bench) -> None:
    assert here.followed(NAME) == {
        "host/boot:install": [(phase, "ok") for phase in INSTALL],
        "host/boot:disk": [(phase, "ok") for phase in START],
    }


def test_every_check_passes_that_needs_no_xapi(here: Bench, tmp_path: Path) -> None:
    junit = tmp_path / "junit.xml"
    done = here.run("test", NAME, "--", f"--junitxml={junit}", timeout=300)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    cases = list(ET.parse(junit).getroot().iter("testcase"))
    left_out = {str(case.get("name")).partition("[")[0]: case[0].get("message", "") for case in cases if len(case)}
    assert set(left_out) == set(LEFT_OUT)
    assert all(reason in left_out[name] for name, reason in LEFT_OUT.items())
    assert len(cases) - len(left_out) >= 20


def test_a_script_of_the_users_ran_with_the_hosts_files(here: Bench) -> None:
    assert here.run("exec", NAME, "host", "--", "cat", MARK, check=True).stdout == "filesystem-populated 1\n"
