"""Nodes that install themselves, by the real command on real QEMU: installed, cut off, broken, cloned; nothing left."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.tiny_installer.bench import InstallBench, install_bench

pytestmark = pytest.mark.integration

INSTALLED = ["medium", "identity", "remaster", "disks", "boot:install", "keep", "boot:disk", "session"]
STARTED = ["boot:disk", "session"]


@pytest.fixture
def here() -> Iterator[InstallBench]:
    with install_bench() as made:
        yield made


def test_it_is_installed_once_and_cloned_from_then_on(here: InstallBench) -> None:
    lab = here.lab_of(end="reboot")
    before = (here.medium.stat().st_mtime_ns, here.medium.stat().st_size)
    here.run("up", lab, check=True)
    assert here.begun() == INSTALLED
    assert here.status("t")["nodes"][0]["state"] == "ready"
    assert here.run("exec", "t", "a", "--", "hostname", check=True).stdout == "a\n"
    assert here.run("exec", "t", "a", "--", "ls", "/dev/sr0").returncode != 0, "the second boot has a drive"
    overlay = here.node / "medium/medium.qcow2"
    assert overlay.stat().st_blocks * 512 < 4 << 20
    assert (here.medium.stat().st_mtime_ns, here.medium.stat().st_size) == before

    here.run("up", lab, check=True)
    images = json.loads(here.run("image", "ls", "-o", "json", check=True).stdout)
    assert [image["kind"] for image in images] == ["installed"]
    assert (here.places.cache / "images" / images[0]["key"]).stat().st_mode & 0o777 == 0o700
    assert json.loads(here.run("image", "prune", "--max-size", "0", "-o", "json", check=True).stdout) == []
    planned = json.loads(here.run("plan", lab, "-o", "json", check=True).stdout)
    assert [(image["key"], image["state"]) for image in planned["images"]] == [(images[0]["key"], "cached")]

    here.run("exec", "t", "a", "--", "sh", "-c", "echo mine | dd of=/dev/sda bs=512 seek=250000; sync", check=True)
    here.run("down", "t", check=True)
    here.run("up", lab, check=True)
    assert here.begun() == ["identity", "disks", *STARTED]
    assert here.run("exec", "t", "a", "--", "hostname", check=True).stdout == "a\n"
    read = "dd if=/dev/sda bs=512 skip=250000 count=1 2>/dev/null | head -c 4"
    assert here.run("exec", "t", "a", "--", "sh", "-c", read).stdout == "\0\0\0\0", "the image was written to"
    here.run("down", "t", check=True)
    assert here.left() == []
    assert json.loads(here.run("image", "prune", "--max-size", "0", "-o", "json", check=True).stdout) == [
        images[0]["key"]
    ]


def test_two_are_installed_at_once_and_cloned_at_once(here: InstallBench) -> None:
    """From one medium, each with answers, keys, reports and an image of its own."""
    lab = here.lab(
        f"name: t\ndefaults: {{system: tiny-installer, source: {{medium: {here.medium}}}}}\n"
        "nodes: {a: {install: {end: reboot}}, b: {install: {end: poweroff}}}\n"
    )
    here.run("up", lab, "--jobs", "2", "--timeout-scale", "2", timeout=480, check=True)
    assert {node["name"]: node["state"] for node in here.status("t")["nodes"]} == {"a": "ready", "b": "ready"}
    when = {
        (event.step, event.kind): event.seq
        for event in here.events()
        if event.step in ("a/boot:install", "b/boot:install") and not event.phase
    }
    if (os.cpu_count() or 1) > 1:  # emulated, no more of them run at once than there are processors
        assert max(when[f"{name}/boot:install", "begin"] for name in "ab") < min(
            when[f"{name}/boot:install", "end"] for name in "ab"
        )
    keys = set()
    for name in "ab":
        assert here.run("exec", "t", name, "--", "hostname", check=True).stdout == f"{name}\n"
        assert not (here.places.node("t", name) / "screen.png").exists(), "a picture of the installation is none of it"
        keys.add((here.places.node("t", name) / "ssh/host_ed25519.pub").read_text())
    assert len(keys) == 2
    images = json.loads(here.run("image", "ls", "-o", "json", check=True).stdout)
    assert [image["kind"] for image in images] == ["installed", "installed"]

    here.run("down", "t", check=True)
    here.run("up", lab, "--jobs", "2", "--timeout-scale", "2", timeout=480, check=True)
    assert sorted(here.begun()) == sorted(["identity", "disks", *STARTED] * 2)
    for name in "ab":
        assert here.run("exec", "t", name, "--", "hostname", check=True).stdout == f"{name}\n"
    here.run("down", "t", check=True)
    assert here.left() == []


def test_an_installer_that_stays_at_its_end_is_switched_off(here: InstallBench) -> None:
    here.run("up", here.lab_of(end="shell"), check=True)
    assert here.begun() == INSTALLED


def test_a_keeper_killed_during_the_installation_installs_again_on_blank_disks(here: InstallBench) -> None:
    lab = here.lab_of(pause="'seed 5'")
    up = here.start("up", lab)
    here.await_console("installer: seed")
    here.kill_keeper()
    assert up.wait(60) == 1
    here.run("up", lab, check=True)
    assert here.begun() == ["medium", "remaster", "boot:install", "keep", *STARTED]
    assert "held something" not in (here.node / "console.log").read_text(errors="replace")


def test_a_keeper_killed_after_the_installation_does_not_install_again(here: InstallBench) -> None:
    lab = here.lab_of()
    up = here.start("up", lab)
    here.await_console("host: started from its disk")
    here.kill_keeper()
    up.wait(60)
    here.run("up", lab, check=True)
    assert here.begun() == STARTED


def test_a_killed_keeper_leaves_nothing_behind_down(here: InstallBench) -> None:
    up = here.start("up", here.lab_of(pause="'files 60'"))
    here.await_console("installer: files")
    time.sleep(1)
    assert here.status("t")["nodes"][0]["phase"] == "install: seed"
    here.kill_keeper()
    up.wait(60)
    here.run("down", "t", check=True)
    assert here.left() == []
    assert not list((here.places.cache / "images").glob(".new-*"))


def test_a_killed_up_takes_the_installation_with_it(here: InstallBench) -> None:
    up = here.start("up", here.lab_of(pause="'answers 60'"))
    here.await_console("installer: answers")
    up.kill()
    up.wait()
    deadline = time.monotonic() + 20
    while here.left():
        assert time.monotonic() < deadline, here.left()
        time.sleep(0.1)


def test_a_wrong_answer_is_a_named_cause_with_all_that_tells_of_it(here: InstallBench) -> None:
    done = here.run("up", here.lab_of(disk="sdz"))
    assert done.returncode == 1
    assert "the disk that the answers name is not there" in done.stderr
    assert "[no-disk]" in done.stderr and "installer: failed: no disk sdz" in done.stderr
    assert str(here.evidence) in done.stderr
    assert here.evidence.stat().st_mode & 0o777 == 0o700
    assert (here.evidence / "nodes/a/screen.png").read_bytes().startswith(b"\x89PNG\r\n")
    assert "no disk sdz" in (here.evidence / "nodes/a/console.log").read_text(errors="replace")
    assert "<cdrom" not in (here.evidence / "nodes/a/domain.xml").read_text()
    last = [json.loads(line) for line in (here.evidence / "events.jsonl").read_text().splitlines()]
    assert [event["cause"] for event in last if event.get("cause") and event.get("phase")] == ["no-disk"]
    assert here.left() == []
    assert not (here.places.cache / "images").exists() or not here.run("image", "ls", "-o", "name").stdout


def test_one_that_reboots_before_its_time_leaves_its_last_picture(here: InstallBench) -> None:
    """It takes its screen with it. The answers are a shell file, and this one does more than to answer."""
    lab = here.lab_of(pause="\"'; sleep 8; reboot -f; '\"")
    done = here.run("up", lab, "--timeout-scale", "2")
    assert done.returncode == 1, done.stderr
    assert "[early-reboot]" in done.stderr
    assert (here.evidence / "nodes/a/screen.png").read_bytes().startswith(b"\x89PNG\r\n")
    assert here.left() == []


def test_a_medium_that_goes_away_is_the_named_cause(here: InstallBench) -> None:
    own = here.own_medium()
    up = here.start("up", here.lab_of(own, pause="'disk 30'"))
    here.await_console("installer: disk")
    os.truncate(own, 1 << 20)
    _, said = up.communicate(timeout=120)
    assert up.returncode == 1
    assert "[medium-gone]" in said
    assert here.left() == []


def test_an_installer_that_hangs_ends_with_its_time(here: InstallBench) -> None:
    begun = time.monotonic()
    done = here.run("up", here.lab_of(pause="'answers 3600'"), "--timeout-scale", "0.2")
    assert done.returncode == 4
    assert "phase disk" in done.stderr and "installer: answers" in done.stderr
    assert time.monotonic() - begun < 200
    assert here.left() == []


def _in_little_room(here: InstallBench, size: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """The command with a state folder of this size, in a mount namespace of its own."""
    here.places.state.mkdir(exist_ok=True)
    script = f'mount -t tmpfs -o size={size} none {here.places.state} && exec "$@"'
    return subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, "sh", *here.argv(*arguments)],
        env=here.env, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip


def test_a_host_without_room_for_the_disks_is_the_named_cause(here: InstallBench) -> None:
    done = _in_little_room(here, "12m", "up", here.lab_of())
    assert done.returncode == 1, done.stderr
    assert "[no-space]" in done.stderr
    assert here.left() == []


@pytest.mark.parametrize("size", ["96k", "400k"], ids=["medium", "blank disks"])
def test_a_host_without_room_for_files_is_the_same_cause(here: InstallBench, size: str) -> None:
    done = _in_little_room(here, size, "up", here.lab_of())
    assert done.returncode == 1, done.stderr
    assert "no room left for its files" in done.stderr and "[no-space]" in done.stderr
    assert here.left() == []


def test_a_lab_without_its_medium_is_refused_before_anything_happens(here: InstallBench) -> None:
    lab = here.lab_of(Path("/nowhere/x.iso"))
    done = here.run("up", lab)
    assert done.returncode == 2
    assert "NESTLAB_ISO_TINY_INSTALLER_1=" in done.stderr
    assert not here.places.labs().exists()
    here.env["NESTLAB_ISO_TINY_INSTALLER_1"] = str(here.medium)
    planned = json.loads(here.run("plan", lab, "-o", "json", check=True).stdout)
    assert [medium["state"] for medium in planned["media"]] == ["there"]
