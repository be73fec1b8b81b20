"""Doctor on the host the tests run on, which has what labs need: that is what ci/test.sh installs."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from builder.lifecycle.doctor_ground import Ground, size_text
from builder.paths import Places
from tests.support.lab import ROOT, Bench, bench

pytestmark = pytest.mark.integration


def rows(here: Bench, *arguments: str | Path) -> dict[str, dict[str, str]]:
    done = here.run("doctor", "--no-probe", "-o", "json", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return {row["name"]: row for row in json.loads(done.stdout)}


def test_this_host_has_what_every_lab_needs() -> None:
    with bench() as here:
        found = rows(here)
    assert not [row for row in found.values() if row["status"] == "missing"]
    assert found["libvirt binding"]["seen"].startswith("libvirt ")
    assert found["qemu"]["seen"].startswith("QEMU ")
    assert "ovmf" not in found


def test_the_conclusion_names_what_is_next() -> None:
    with bench() as here:
        lab = ROOT / "labs/tiny.yaml"
        said = here.run("doctor", "--no-probe", lab).stderr
        assert said == f"\nnothing is missing; next: nestlab up {shlex.quote(str(lab))}\n"
        assert here.run("-q", "doctor", "--no-probe", lab).stderr == ""


def test_this_host_has_what_the_example_labs_need() -> None:
    """With no image in the cache, so that the tools to build them count, too."""
    with bench() as here:
        here.env["NESTLAB_CACHE"] = str(here.scratch / "cache")
        plain = rows(here, ROOT / "labs/debian-dom0.yaml")
        uefi = rows(here, ROOT / "labs/debian-dom0-uefi.yaml")
    assert {"mmdebstrap", "root", "loop device", "package sources"} <= set(plain)
    assert "ovmf" in uefi
    assert plain["memory"]["seen"].endswith(size_text(int(4.2 * (1 << 30)))), "4 GiB and QEMU's own"


def test_a_missing_program_is_exit_3_with_the_line_that_installs_it(tmp_path: Path) -> None:
    """A PATH on which there is a shell and no QEMU."""
    (tmp_path / "sh").symlink_to("/bin/sh")
    with bench() as here:
        here.env["PATH"] = str(tmp_path)
        done = here.run("doctor", "--no-probe", "-o", "json")
        table = here.run("-q", "doctor", "--no-probe")
        loud = here.run("doctor", "--no-probe")
    found = {row["name"]: row for row in json.loads(done.stdout)}
    assert done.returncode == 3
    assert found["qemu"]["status"] == "missing"
    assert found["qemu"]["fix"].endswith("apt-get install --no-install-recommends qemu-system-x86")
    assert "missing" in table.stdout
    assert loud.stderr.splitlines()[-1].startswith("missing: qemu")
    assert "nothing is missing" not in table.stderr
    assert "qemu-system-x86 qemu-utils openssh-client" in table.stderr, "all packages in one line"
    assert "python " not in table.stdout, "quiet lists findings only"


def test_a_lab_too_large_for_this_host(tmp_path: Path) -> None:
    with bench() as here:
        lab = here.lab("name: huge\nnodes:\n  a: {system: tiny, memory: 900TiB}\n")
        done = here.run("doctor", lab, "--no-probe", "-o", "json")
    (memory,) = [row for row in json.loads(done.stdout) if row["name"] == "memory"]
    assert (done.returncode, memory["status"]) == (3, "missing")


def test_a_bad_lab_file_is_exit_2() -> None:
    with bench() as here:
        done = here.run("doctor", here.lab("name: bad\nnodes: {a: {system: tinny}}\n"))
    assert done.returncode == 2
    assert "[lab-unknown-system]" in done.stderr
    assert done.stdout == ""


def test_orphans_are_seen_to_be_collected() -> None:
    """Below a sub-reaper that collects at once, whatever this machine's process 1 does; and below one that does not."""
    code = (
        "import ctypes, os, pathlib, signal, sys\n"
        "from builder.lifecycle.doctor_ground import Ground\nfrom builder.paths import Places\n"
        "ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)\n"
        "if sys.argv[1] == 'collect': signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
        "p = pathlib.Path('/tmp')\n"
        "print(Ground(Places(p, p, p)).reap_seconds(0.5) is not None)\n"
    )
    said = {
        how: subprocess.run(
            [sys.executable, "-c", code, how],
            capture_output=True, text=True, check=True, cwd=ROOT,
        ).stdout.strip()
        for how in ("collect", "leave")
    }  # fmt: skip
    assert said == {"collect": "True", "leave": "False"}


def test_fixes_are_lines_a_shell_understands() -> None:
    with bench() as here:
        for row in rows(here, ROOT / "labs/debian-dom0.yaml").values():
            for line in row["fix"].splitlines():
                subprocess.run(["sh", "-n", "-c", line], check=True)
                shlex.split(line, comments=True)


def test_the_real_ground_reads_this_machine() -> None:
    ground = Ground(Places.from_environment(os.environ))
    assert (ground.read("/proc/meminfo") or "").startswith("MemTotal")
    assert ground.which("sh")
    assert ground.which("no-such-program") is None
    assert ground.output(["false"]) is None
    assert ground.output(["no-such-program"]) is None
    assert ground.free_space(Path("/no/such/folder")) > 0
