"""The shell functions that quickstart and test share: what they say and which status they end with."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.repo import ROOT


def bash(script: str, *arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script that has lib.sh, from a folder that is not the clone."""
    return subprocess.run(
        ["bash", "-c", f'set -euo pipefail; . "{ROOT}/ci/lib.sh"; {script}', "test", *map(str, arguments)],
        cwd="/",
        env={**{k: v for k, v in os.environ.items() if not k.startswith("NESTLAB_")}, **environment},
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )


def os_release(folder: Path, name: str, version: str) -> Path:
    path = folder / "os-release"
    path.write_text(f'PRETTY_NAME="{name} the {version}th (x)"\nID={name}\nVERSION_ID="{version}"\n')
    return path


@pytest.mark.parametrize("version", ["12", "13"])
def test_debian_is_known(tmp_path: Path, version: str) -> None:
    done = bash('require_known_os "$1"; echo "$OS_TITLE"', os_release(tmp_path, "debian", version))
    assert (done.returncode, done.stdout) == (0, f"debian the {version}th (x)\n")


def test_ubuntu_needs_a_mirror(tmp_path: Path) -> None:
    file = os_release(tmp_path, "ubuntu", "24.04")
    without = bash('require_known_os "$1"', file)
    assert without.returncode == 3
    assert "export NESTLAB_DEBIAN_MIRROR=" in without.stderr
    assert bash('require_known_os "$1"', file, NESTLAB_DEBIAN_MIRROR="http://mirror.example/debian").returncode == 0


@pytest.mark.parametrize(("name", "version"), [("debian", "11"), ("fedora", "42"), ("ubuntu", "22.04")])
def test_other_systems_are_refused(tmp_path: Path, name: str, version: str) -> None:
    done = bash('require_known_os "$1"', os_release(tmp_path, name, version))
    assert done.returncode == 3
    assert f"{name} the {version}th" in done.stderr
    assert "hint: use Debian 12 or 13" in done.stderr


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("Temporary failure resolving 'mirror.example'", "cannot be reached"),
        ("connect (113: No route to host); Could not connect to mirror.example:80", "cannot be reached"),
        ("Failed to establish a new connection: [Errno 101] Network is unreachable", "cannot be reached"),
        ("dpkg: error: cannot copy: No space left on device", "disk is full"),
        ("E: You don't have enough free space in /var/cache/apt/archives/.", "disk is full"),
        ("E: Unable to locate package qemu-system-x86", "lack a package"),
        ("E: Could not get lock /var/lib/dpkg/lock-frontend", "another package manager"),
        ("something nobody thought of", "the whole log is in"),
    ],
)
def test_failures_are_explained(tmp_path: Path, line: str, reason: str) -> None:
    log = tmp_path / "apt.log"
    log.write_text(f"Reading package lists...\n{line}\n")
    done = bash('explain_failure "$1" "installing packages"', log)
    assert done.returncode == 3
    assert reason in done.stderr
    assert f"| {line}" in done.stderr


def test_missing_packages_are_told_with_their_reason(tmp_path: Path) -> None:
    fake = tmp_path / "dpkg-query"
    fake.write_text("#!/bin/sh\necho installed qemu-utils\necho not-installed sudo\nexit 1\n")
    fake.chmod(0o755)
    told = bash("missing_packages run", PATH=f"{tmp_path}:{os.environ['PATH']}").stdout
    assert "  sudo                        diskimage-builder calls it" in told
    assert "qemu-utils" not in told
    assert "shellcheck" not in told, "tests' own packages are not quickstart's"


def test_a_machine_without_any_of_them_misses_them_all(tmp_path: Path) -> None:
    fake = tmp_path / "dpkg-query"
    fake.write_text("#!/bin/sh\nexit 1\n")
    fake.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    missing = bash("missing_packages run test | wc -l", PATH=path).stdout
    assert missing == bash("packages run test | wc -l").stdout
    assert int(missing) > 20


def test_too_little_space_is_said_before_anything_is_done(tmp_path: Path) -> None:
    done = bash('require_space "$1/not/there/yet" 900000000 "this test"', tmp_path)
    assert done.returncode == 3
    assert "this test needs about 900000000 MiB" in done.stderr
    assert bash('require_space "$1/not/there/yet" 1 "this test"', tmp_path).returncode == 0


def test_a_phase_stops_at_its_first_failure_and_is_timed() -> None:
    done = bash("bad() { false; echo went on; }; phase one true; phase two bad; phase_table; exit $PHASE_STATUS")
    assert done.returncode == 1
    assert "went on" not in done.stdout
    first, second, total = done.stdout.splitlines()
    assert first.split() == ["one", "0.0", "s", "ok"]
    assert second.split()[0] == "two"
    assert second.endswith("failed (1)")
    assert total.split()[0] == "total"


def test_must_ends_the_script_with_the_same_status() -> None:
    done = bash("must one exit 3; echo went on")
    assert (done.returncode, done.stdout) == (3, "")


def test_settings_of_the_caller_do_not_leak_in(tmp_path: Path) -> None:
    script = 'echo "$PYTHON ${PYTHONPATH-} ${VIRTUAL_ENV-} ${PIP_TARGET-}"'
    done = bash(script, PYTHONPATH=str(tmp_path), VIRTUAL_ENV=str(tmp_path), PIP_TARGET=str(tmp_path))
    assert done.stdout.split() == ["/usr/bin/python3"]


def test_the_stamp_depends_on_lock_and_place() -> None:
    stamp = bash("venv_stamp").stdout.splitlines()
    assert stamp[0] == str(ROOT)
    assert len(stamp[-1]) == len(stamp[-2]) == 64
    assert bash('LOCK="$1"; venv_stamp', "/etc/hostname").stdout.splitlines() != stamp


@pytest.mark.parametrize(
    ("script", "arguments"),
    [
        ("quickstart.sh", ("no-such-lab.yaml",)),
        ("quickstart.sh", ("a", "b")),
        ("clean-root.sh", ("11", "quickstart")),
        ("clean-root.sh", ("12",)),
        ("clean-root.sh", ("12", "--")),
        ("offline.sh", ()),
    ],
)
def test_wrong_use_is_status_2(script: str, arguments: tuple[str, ...]) -> None:
    done = subprocess.run(
        ["bash", str(ROOT / "ci" / script), *arguments], cwd="/", check=False, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")


def test_an_unknown_part_is_status_2() -> None:
    done = subprocess.run(
        ["bash", str(ROOT / "ci/test.sh")],
        env={**os.environ, "NESTLAB_TEST_PARTS": "unit everything"},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "'everything'" in done.stderr
