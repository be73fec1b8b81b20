"""Guests that a lab file declares, on real Xen: one starts with its host, one runs to its end, all are read by xl."""

from __future__ import annotations

import warnings
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tests.support.lab import ROOT, bench

pytestmark = pytest.mark.e2e

LAB = ROOT / "labs/debian-guests.yaml"


def test_every_check_of_its_guests_passes(tmp_path: Path) -> None:
    junit = tmp_path / "junit.xml"
    with bench() as here:
        here.run("up", LAB, timeout=900, check=True)
        done = here.run("test", LAB, "--", "-k", "test_guests.py", f"--junitxml={junit}", timeout=600)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    for line in done.stdout.splitlines():
        if "tried again" in line:
            warnings.warn(line.strip(), stacklevel=1)
    suite = ET.parse(junit).getroot().find("testsuite")
    assert suite is not None
    assert int(suite.attrib["tests"]) == 3
    assert (suite.attrib["failures"], suite.attrib["errors"], suite.attrib["skipped"]) == ("0", "0", "0")
