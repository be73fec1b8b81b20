"""The plugin as other projects meet it: absent without --nestlab, nodes by the checks their systems name with it.

The lab is files in a state folder with a lock held: what a keeper would have written. Real labs are met in
tests/integration/test_checks_tiny.py.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from builder.lifecycle.plan import plan_lab
from builder.lifecycle.state import LabFolder
from builder.model.load import parse_lab
from builder.model.runtime import LabState, LabStatus, NodeStatus
from builder.paths import Places, locked
from builder.systems import load_system, traits
from tests.support.plugin import plugin_options
from tests.support.repo import ROOT

MIXED = b"""\
name: mixed
nodes:
  t1: {system: tiny}
  t2: {system: tiny}
  x: {system: debian}
"""

SHOWS = """\
def test_shows(node, lab, patience):
    print(f"SEEN {node.name} {node.system} {lab.name} {patience}")
"""


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path / "state", tmp_path / "cache", tmp_path / "run")


def write_lab(places: Places, state: LabState = "ready") -> None:
    lab = parse_lab(MIXED, traits()).lab
    folder = LabFolder(places, "mixed")
    folder.path.mkdir(parents=True)
    folder.write_plan(plan_lab(lab, load_system))
    nodes = tuple(
        NodeStatus(name=n.name, system=n.system, release=n.release, state="ready", console_log="/x") for n in lab.nodes
    )
    folder.write_status(LabStatus(lab="mixed", state=state, accelerator="tcg", nodes=nodes))


@pytest.fixture
def lab(places: Places) -> Iterator[Places]:
    write_lab(places)
    with locked(places.lab("mixed") / "lock"):
        yield places


def run_pytest(
    places: Places, folder: Path, files: dict[str, str], arguments: Sequence[str]
) -> subprocess.CompletedProcess[str]:
    """pytest with the plugin, as a project elsewhere would run it."""
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith(("NESTLAB_", "PYTEST_"))},
        "PYTHONPATH": str(ROOT),
        "NESTLAB_STATE": str(places.state),
        "NESTLAB_CACHE": str(places.cache),
        "NESTLAB_RUNTIME": str(places.runtime),
    }
    argv = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-s", "-q", *plugin_options(), *arguments]
    return subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)


def seen(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [line.partition("SEEN ")[2] for line in done.stdout.splitlines() if "SEEN " in line]


def test_without_the_option_nothing_is_loaded_and_testinfra_keeps_its_host(places: Places, tmp_path: Path) -> None:
    text = """\
import sys

def test_local(host):
    assert host.backend.NAME == "local"
    assert not [m for m in sys.modules if m.startswith(("builder.lifecycle", "builder.drivers", "builder.model"))]
"""
    done = run_pytest(places, tmp_path / "p", {"test_it.py": text}, ["--hosts", "local://"])
    assert done.returncode == 0, done.stdout


def test_fixtures_are_not_there_without_the_option(places: Places, tmp_path: Path) -> None:
    done = run_pytest(places, tmp_path / "p", {"test_it.py": SHOWS}, [])
    assert "fixture 'node' not found" in done.stdout


def test_a_file_that_no_system_names_runs_on_every_node(lab: Places, tmp_path: Path) -> None:
    done = run_pytest(lab, tmp_path / "p", {"test_mine.py": SHOWS}, ["--nestlab", "mixed"])
    assert done.returncode == 0, done.stdout
    assert seen(done) == ["t1 tiny mixed 8.0", "t2 tiny mixed 8.0", "x debian mixed 8.0"]


def test_a_file_that_a_system_names_runs_on_its_nodes(lab: Places, tmp_path: Path) -> None:
    files = {"test_tiny.py": SHOWS, "test_debian_dom0.py": SHOWS}
    done = run_pytest(lab, tmp_path / "p", files, ["--nestlab", "mixed"])
    assert sorted(seen(done)) == ["t1 tiny mixed 8.0", "t2 tiny mixed 8.0", "x debian mixed 8.0"]


def test_the_lab_file_names_the_lab(lab: Places, tmp_path: Path) -> None:
    file = tmp_path / "lab.yaml"
    file.write_bytes(MIXED)
    done = run_pytest(lab, tmp_path / "p", {"test_mine.py": SHOWS}, ["--nestlab", str(file)])
    assert len(seen(done)) == 3, done.stdout


def test_our_host_stands_before_testinfras(lab: Places, tmp_path: Path) -> None:
    """These nodes have no ssh, which only our fixture would notice; testinfra's own is the local machine."""
    text = "def test_host(host): pass\n"
    done = run_pytest(lab, tmp_path / "p", {"test_mine.py": text}, ["--nestlab", "mixed"])
    assert "there is no ssh to t1: nestlab status mixed" in done.stdout
    assert "3 errors" in done.stdout


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("ghost", "no lab named ghost is up"),
        ("missing.yaml", "missing.yaml cannot be read"),
        ("nameless.yaml", "has no `name:`"),
        ("mixed", "lab mixed is failed, not ready"),
    ],
)
def test_a_lab_that_cannot_be_used_is_a_usage_error(
    places: Places, tmp_path: Path, argument: str, message: str
) -> None:
    write_lab(places, state="failed")
    with locked(places.lab("mixed") / "lock"):
        done = run_pytest(
            places, tmp_path / "p", {"test_it.py": SHOWS, "nameless.yaml": "nodes: {}\n"}, ["--nestlab", argument]
        )
    assert done.returncode == 4
    assert message in done.stderr


@pytest.mark.parametrize("line", ["name: mixed_up", "name: mixed.two", "name: Mixed", "name:\nmixed: {}"])
def test_a_file_with_no_proper_name_is_not_taken_for_another_lab(lab: Places, tmp_path: Path, line: str) -> None:
    """Tests break hosts: never those of the lab whose name the broken one begins with."""
    files = {"test_it.py": SHOWS, "lab.yaml": f"{line}\nnodes: {{}}\n"}
    done = run_pytest(lab, tmp_path / "p", files, ["--nestlab", "lab.yaml"])
    assert done.returncode == 4 and seen(done) == []
    assert "has no `name:`" in done.stderr


PROCEDURE = """\
from builder.errors import LabError
from builder.procedures import load_procedure
from builder.procedures.options import parse_options

def test_do(node, procedures):
    procedure = load_procedure("nic-quirk")
    try:
        procedures.run(node.name, procedure, parse_options(procedure, {}))
    except LabError as error:
        print("SEEN", error.message)
"""


def test_procedures_are_done_on_the_labs_nodes(lab: Places, tmp_path: Path) -> None:
    """These nodes have no ssh: that is what a procedure meets."""
    done = run_pytest(lab, tmp_path / "p", {"test_mine.py": PROCEDURE}, ["--nestlab", "mixed"])
    assert done.returncode == 0, done.stdout
    assert seen(done) == [f"{node} is ready: there is no ssh to it" for node in ("t1", "t2", "x")]


def test_options_of_others_are_left_alone() -> None:
    """testinfra and xcp-ng-tests own these names; registering one would end their test runs."""
    text = (ROOT / "builder/pytest_plugin/__init__.py").read_text()
    taken = ("--hosts", "--connection", "--sudo", "--ssh-config", "--vm", "--nest", "--disks")
    assert [name for name in taken if f'"{name}"' in text] == []
    assert text.count("addoption(") == 2  # the hook, and our one option
