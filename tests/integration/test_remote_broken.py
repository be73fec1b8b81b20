"""What goes wrong with another machine, and what is left there then: nothing. One that is well: test_remote.py."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.far_host import FOLDER, URI, USER, FarBench, FarHost, far_host
from tests.support.lab import ROOT

pytestmark = pytest.mark.integration

ONE = "name: one\nnodes: {a: {system: tiny}}\n"
TWO = "name: two\ndefaults: {system: tiny}\nnodes: {a: {}, b: {}}\n"


@pytest.fixture(scope="module")
def far() -> Iterator[FarHost]:
    with far_host() as made:
        yield made


@pytest.fixture(scope="module")
def bench(far: FarHost) -> Iterator[FarBench]:
    scratch = Path(tempfile.mkdtemp(prefix="nlf-", dir="/var/tmp"))
    made = FarBench(scratch, far)
    yield made
    left = made.left()
    shutil.rmtree(scratch, ignore_errors=True)
    assert not left, left


@pytest.fixture
def here(bench: FarBench) -> Iterator[FarBench]:
    """Whatever a test does, nothing but files for all labs is left there."""
    yield bench
    labs = bench.places.labs()
    for lab in sorted(labs.iterdir()) if labs.is_dir() else ():
        bench.run("down", lab.name)
    assert bench.far.guests() == []
    assert bench.far.files(f"{FOLDER}/labs") == []


def test_files_go_once_and_nothing_of_a_lab_stays(here: FarBench) -> None:
    lab = here.lab(ONE)
    here.run("up", lab, "--connect", URI, check=True)
    sent = here.stored()
    assert sent
    used = json.loads(here.run("image", "prune", "--connect", URI, "--max-size", "0", "-o", "json", check=True).stdout)
    kernel = here.far.files(f"{FOLDER}/labs")
    assert not set(used) & {name.rpartition("/")[2] for name in kernel}, "what a lab uses stays"
    sent = here.stored()
    here.run("down", "one", check=True)
    assert here.far.guests() == [] and here.far.files(f"{FOLDER}/labs") == []
    here.run("up", lab, "--connect", URI, check=True)
    assert here.stored() == sent, "sent again"
    here.run("down", "one", check=True)


def test_guests_of_a_killed_keeper_are_removed_by_down(here: FarBench) -> None:
    here.run("up", here.lab(ONE), "--connect", URI, check=True)
    here.kill_keeper("one")
    assert len(here.far.guests()) == 1, "nobody there knows"
    assert here.run("ls", "-o", "json").stdout.count('"dead"') == 1
    here.run("down", "one", check=True)
    assert here.far.guests() == [] and here.far.files(f"{FOLDER}/labs") == []


def test_a_lab_of_a_killed_keeper_comes_up_again_where_it_was(here: FarBench) -> None:
    lab = here.lab(ONE)
    here.run("up", lab, "--connect", URI, check=True)
    here.kill_keeper("one")
    here.run("up", lab, check=True)
    assert len(here.far.guests()) == 1
    assert here.run("exec", "one", "a", "--", "hostname", check=True).stdout == "a\n"


def test_a_connection_that_is_cut_is_no_reason_to_leave_things_there(here: FarBench) -> None:
    here.run("up", here.lab(ONE), "--connect", URI, check=True)
    cut_connection(here)
    said = here.run("exec", "one", "a", "--", "true")
    assert said.returncode == 255
    here.run("down", "one", check=True)
    assert here.far.guests() == [] and here.far.files(f"{FOLDER}/labs") == []


def test_a_connection_that_is_cut_ends_a_boot_with_its_name(here: FarBench) -> None:
    up = here.start("up", here.lab(ONE), "--connect", URI)
    console = here.places.node("one", "a") / "console.log"
    deadline = time.monotonic() + 120
    while not console.exists() or not console.stat().st_size:
        assert time.monotonic() < deadline and up.poll() is None
        time.sleep(0.02)
    cut_connection(here)
    said = up.communicate(timeout=90)[1]
    assert up.returncode == 1 and "[l0-lost]" in said, said
    here.run("down", "one", check=True)
    assert here.far.guests() == [] and here.far.files(f"{FOLDER}/labs") == []


def cut_connection(here: FarBench) -> None:
    for pid in here.far.run("pgrep", "-f", f"ssh -M .*{here.places.runtime}").stdout.split():
        here.far.run("kill", "-KILL", pid)


def test_what_a_lost_client_left_there_is_reaped(here: FarBench) -> None:
    """Its state folder is gone: nobody here knows of the lab."""
    here.run("up", here.lab(ONE), "--connect", URI, check=True)
    assert json.loads(here.run("reap", "--connect", URI, "-o", "json", check=True).stdout) == [], "it runs"
    here.kill_keeper("one")
    shutil.rmtree(here.places.lab("one"))
    (name,) = json.loads(here.run("reap", "--connect", URI, "-o", "json", check=True).stdout)
    assert name.startswith("one-")
    assert here.far.guests() == [] and here.far.files(f"{FOLDER}/labs") == []
    shutil.rmtree(here.places.run("one"))


@pytest.mark.parametrize(
    ("uri", "said", "cure"),
    [
        (URI.replace("l0", "stranger"), "its host key is not known", "compare the fingerprint: ssh root@stranger"),
        (URI.replace("root", "outsider"), "it does not let us in without a password", "ssh-copy-id outsider@l0"),
        (URI.replace("root", "nobody"), "does not run nestlab's outpost", "does the user have a shell there?"),
        (URI.replace("root", USER), "may not use /run/libvirt/libvirt-sock", f"usermod -aG libvirt {USER}"),
        (URI.replace("l0", "nowhere.invalid"), "its name is not known", "look at --connect"),
        (URI.replace("l0", "l0:9"), "it cannot be reached", "does it run"),
        (URI.replace(FOLDER, "/proc/nestlab"), "/proc/nestlab cannot be made", "nestlab-dir"),
        (URI.replace("system", "session"), "no libvirt daemon listens at", "libvirtd -d"),
    ],
)
def test_a_machine_that_does_not_let_us_is_named_with_the_cure(here: FarBench, uri: str, said: str, cure: str) -> None:
    ended = here.run("up", here.lab(ONE), "--connect", uri)
    assert ended.returncode == 3, ended.stderr
    assert said in ended.stderr and cure in ended.stderr, ended.stderr
    assert here.run("ls").stdout == "", "nothing is there, so nothing is left to take down"


def test_a_host_key_that_changed_is_told(here: FarBench) -> None:
    line = "changed ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ5SGGPYTnpMDkTFhLJDTkXjVhvlSoUfyNL4C3zYDZWj"
    here.far.run("sh", "-c", f"echo {shlex.quote(line)} >>/run/far/known_hosts; echo 127.0.0.1 changed >>/etc/hosts")
    ended = here.run("up", here.lab(ONE), "--connect", URI.replace("l0", "changed"))
    assert ended.returncode == 3
    assert "its host key is another than the one that is known" in ended.stderr
    assert "ssh-keygen -R changed" in ended.stderr


def test_reports_of_an_installation_come_back(here: FarBench) -> None:
    """The guest posts to a port of the machine that it runs on."""
    program = """
import subprocess, sys
from pathlib import Path
from builder.drivers.hooks import HookListener
from builder.lifecycle.far import FarUri, visiting
from builder.paths import Places

places = Places(*map(Path, sys.argv[2:]))
with HookListener(print) as listener, visiting(FarUri.parse(sys.argv[1]), places) as far:
    url = listener.argument("127.0.0.1", far.master.reverse(listener.port)).partition("=")[2]
    assert f":{listener.port}/" not in url
    subprocess.run(["curl", "-sf", "--data-binary", "halfway", url + "/begin/disk"], check=True)
"""
    places = (here.places.state, here.places.cache, here.places.runtime)
    said = here.far.run("env", f"PYTHONPATH={ROOT}", sys.executable, "-c", program, URI, *places).stdout
    assert "Report(kind='begin', phase='disk', message='halfway'" in said


def test_a_disk_that_is_full_there_is_told(here: FarBench) -> None:
    here.far.run("sh", "-c", "mkdir -p /run/small && mount -t tmpfs -o size=8m small /run/small")
    ended = here.run("up", here.lab(ONE), "--connect", URI.replace(FOLDER, "/run/small/nl"))
    assert ended.returncode in (1, 3), ended.stderr
    assert "/run/small/nl/store has" in ended.stderr and "MiB are to come" in ended.stderr, ended.stderr
    assert here.far.files("/run/small/nl/labs") == []
    here.far.run("umount", "/run/small")


def test_doctor_looks_there(here: FarBench) -> None:
    lab = here.lab(TWO)
    rows = {row["name"]: row for row in json.loads(here.run("doctor", lab, "--connect", URI, "-o", "json").stdout)}
    for name in ("ssh to L0", "python3 there", "libvirt there", "qemu there", "memory there"):
        assert rows[name]["status"] == "ok", rows[name]
    assert FOLDER in rows["room there"]["seen"]
    assert rows["accelerator there"]["status"] in ("ok", "warn", "unknown")
    assert "qemu" not in rows and "kvm device" not in rows, "of this machine, where no guest runs"


@pytest.mark.parametrize(
    ("uri", "name"),
    [(URI.replace("l0", "stranger"), "ssh to L0"), (URI.replace("root", USER), "libvirt there")],
)
def test_doctor_says_how_far_it_comes(here: FarBench, uri: str, name: str) -> None:
    ended = here.run("doctor", "--connect", uri, "-o", "json")
    assert ended.returncode == 3
    last = json.loads(ended.stdout)[-1]
    assert (last["name"], last["status"]) == (name, "missing")
    assert last["fix"].startswith("# ")
