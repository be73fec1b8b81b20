"""A node that installs itself on another machine, from a medium that is sent there."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.far_host import FOLDER, URI, FarBench, far_host
from tests.support.lab import Bench
from tests.support.tiny_installer.bench import InstallBench

pytestmark = pytest.mark.integration


class FarInstallBench(InstallBench):
    def __init__(self, here: Bench, far: FarBench) -> None:
        super().__init__(here)
        self._far = far.far

    def argv(self, *arguments: str | Path) -> list[str]:
        return self._far.argv(*super().argv(*arguments))


@pytest.fixture
def far() -> Iterator[FarBench]:
    scratch = Path(tempfile.mkdtemp(prefix="nlf-", dir="/var/tmp"))
    with far_host() as host:
        yield FarBench(scratch, host)
    shutil.rmtree(scratch, ignore_errors=True)


def test_it_is_installed_there_and_started_from_its_own_disk(far: FarBench) -> None:
    here = FarInstallBench(far, far)
    here.run("up", here.lab_of(end="reboot"), "--connect", URI, check=True)
    digest = hashlib.sha256(here.medium.read_bytes()).hexdigest()
    assert digest in far.stored()
    assert here.run("exec", "t", "a", "--", "hostname", check=True).stdout == "a\n"
    assert "host: started from its disk" in (here.node / "console.log").read_text(errors="replace")
    assert json.loads(here.run("image", "ls", "-o", "json", check=True).stdout) == [], "an empty disk is no image"
    here.run("down", "t", check=True)
    assert far.far.guests() == [] and far.far.files(f"{FOLDER}/labs") == []
    assert here.left() == []
