"""What goes wrong while a node installs itself: each ends by its name, with all that tells of it, and nothing is left.

The Debian installer is the real one, that of XCP-ng the stand-in; what does not depend on the installer, a kill in each
phase, is done to the tiny one, which gets there in seconds.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ci.debian_installer import mirror
from ci.debian_installer.medium import medium
from ci.debian_installer.suite import suite
from ci.nightly import debian_installer
from tests.support.lab import Bench, bench
from tests.support.tiny_installer.bench import InstallBench, install_bench
from tests.support.xcpng_installer import labs as xcpng
from tests.support.xcpng_installer.medium import stand_in_medium

pytestmark = pytest.mark.e2e

NOWHERE = f"http://{mirror.GATEWAY}:9"
"""Nobody listens there: a guest's connection is refused."""
SECONDS = 2400
MIRROR_GONE = {"mirror-failed", "mirror-unreachable"}
"""Its own words, and those of the program that fetches: which of them comes first is the installer's affair."""
KEPT = ("nodes/host/screen.png", "nodes/host/console.log", "nodes/host/domain.xml", "events.jsonl", "state.json")
PARTS = ("answers", "disk", "files", "seed")
"""Of the tiny installer, each a phase of its boot: it waits there when it is told to."""


@pytest.fixture
def here() -> Iterator[Bench]:
    with bench() as made:
        yield made


@pytest.fixture
def tiny() -> Iterator[InstallBench]:
    with install_bench() as made:
        yield made


def debian(name: str, vendor: Path) -> str:
    """The lab of the nightly installation with one thing wrong."""
    text = debian_installer.lab_text("install-lvm", vendor)
    wrong = {
        "disk": text + "      devices: {disk0: /dev/sdz}\n",
        "mirror": text.replace(f"http://{mirror.GATEWAY}:{mirror.PORT}", NOWHERE),
        "answers": text + f"      delivery: url\n      served_at: {NOWHERE}/answers\n",
    }
    return wrong.get(name, text)


def evidence(here: Bench, lab: str) -> Path:
    """Where a failure is kept, with everything that belongs there."""
    folder = here.places.state / "failures" / lab
    assert [name for name in KEPT if not (folder / name).is_file()] == []
    assert (folder / "nodes/host/screen.png").read_bytes().startswith(b"\x89PNG\r\n")
    return folder


def causes(folder: Path) -> set[str]:
    """Those that a phase of a boot ended by."""
    told = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    return {event["cause"] for event in told if event.get("cause") and event.get("phase")}


@pytest.mark.parametrize(("what", "known"), [("mirror", MIRROR_GONE), ("answers", {"answers-missing"})])
def test_what_debians_installer_cannot_fetch(here: Bench, what: str, known: set[str]) -> None:
    done = here.run("up", here.lab(debian(what, medium("13", suite("13")))), timeout=SECONDS)
    folder = evidence(here, "install-lvm")
    told = causes(folder)
    assert done.returncode == 1 and len(told) == 1 and told <= known, done.stderr
    assert f"[{told.pop()}]" in done.stderr
    if what == "mirror":  # scripts that report come with the answers
        assert "step choose-mirror" in (folder / "nodes/host/installer.log").read_text()
    assert here.left() == []


def test_debians_installer_misses_the_disk(here: Bench) -> None:
    lab = here.lab(debian("disk", medium("13", suite("13"))))
    with mirror.serve(suite("13").archive):
        done = here.run("up", lab, timeout=SECONDS)
    assert (done.returncode, "[disk-missing]" in done.stderr) == (1, True), done.stderr
    folder = evidence(here, "install-lvm")
    assert causes(folder) == {"disk-missing"}
    assert "fail disks: there is no disk /dev/sdz" in (folder / "nodes/host/installer.log").read_text()
    assert here.left() == []


def test_xcp_ngs_installer_misses_the_disk(here: Bench) -> None:
    text = xcpng.lab_text(stand_in_medium(), "8.3", "bios") + "      devices: {system: /dev/sdz}\n"
    done = here.run("up", here.lab(text), timeout=SECONDS)
    assert (done.returncode, "[disk-missing]" in done.stderr) == (1, True), done.stderr
    assert causes(evidence(here, "stand-in-8-3-bios")) == {"disk-missing"}
    assert here.left() == []


@pytest.mark.parametrize("system", ["debian", "xcpng"])
def test_a_medium_that_goes_away_in_the_middle(here: Bench, system: str) -> None:
    vendor = medium("13", suite("13")) if system == "debian" else stand_in_medium()
    own = Path(shutil.copyfile(vendor, here.scratch / "own.iso"))
    text, name, mark = (
        (debian("", own), "install-lvm", "nestlab: the installer has read its answers")
        if system == "debian"
        else (xcpng.lab_text(own, "8.3", "bios"), "stand-in-8-3-bios", "Setup - Version")
    )
    up = here.start("up", here.lab(text))
    console = here.places.node(name, "host") / "console.log"
    deadline = time.monotonic() + SECONDS
    while not console.exists() or mark not in console.read_text(errors="replace"):
        assert up.poll() is None and time.monotonic() < deadline
        time.sleep(0.5)
    os.truncate(own, 1 << 20)
    _, said = up.communicate(timeout=300)
    assert (up.returncode, "[medium-gone]" in said) == (1, True), said
    assert causes(evidence(here, name)) == {"medium-gone"}
    assert here.left() == []


@pytest.mark.parametrize("part", PARTS)
def test_up_killed_in_each_phase_takes_the_installation_with_it(tiny: InstallBench, part: str) -> None:
    up = tiny.start("up", tiny.lab_of(pause=f"'{part} 60'"))
    tiny.await_console(f"installer: {part}")
    up.kill()
    up.wait()
    deadline = time.monotonic() + 30
    while tiny.left():
        assert time.monotonic() < deadline, tiny.left()
        time.sleep(0.1)
    assert tiny.run("image", "ls", "-o", "json", check=True).stdout.split() == ["[]"]


@pytest.mark.parametrize("part", PARTS)
def test_a_keeper_killed_in_each_phase_is_gone_on_from(tiny: InstallBench, part: str) -> None:
    """It installs again, on blank disks: what is half written is nobody's host."""
    lab = tiny.lab_of(pause=f"'{part} 5'")
    up = tiny.start("up", lab)
    tiny.await_console(f"installer: {part}")
    tiny.kill_keeper()
    assert up.wait(60) == 1
    tiny.run("up", lab, check=True)
    assert tiny.begun() == ["medium", "remaster", "boot:install", "keep", "boot:disk", "session"]
    assert "held something" not in (tiny.node / "console.log").read_text(errors="replace")
    assert tiny.run("exec", "t", "a", "--", "hostname", check=True).stdout == "a\n"


@pytest.mark.parametrize("mark", ["host: started from its disk", "Linux version"])
def test_a_keeper_killed_in_the_first_start_does_not_install_again(tiny: InstallBench, mark: str) -> None:
    lab = tiny.lab_of()
    up = tiny.start("up", lab)
    tiny.await_console("installer: done")
    console = tiny.node / "console.log"
    after = len(console.read_text(errors="replace"))
    deadline = time.monotonic() + 120
    while mark not in console.read_text(errors="replace")[after:]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    tiny.kill_keeper()
    up.wait(60)
    tiny.run("up", lab, check=True)
    assert tiny.begun() == ["boot:disk", "session"]
