"""Fixtures for tests of a lab's hosts: `lab`, `world`, `node`, `host`, `procedures`, `ssh_config`, `patience`,
`places`."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
import testinfra
import testinfra.host

from builder.drivers.ssh import ssh_config as ssh_config_text
from builder.errors import LabError, UsageError
from builder.lifecycle.plan import LabPlan
from builder.lifecycle.state import read_plan
from builder.lifecycle.status import slower_by, status
from builder.lifecycle.world import LabWorld
from builder.model.lab import Lab, Node
from builder.model.runtime import LabStatus
from builder.paths import Places
from builder.procedures.engine import Engine

# As in cli.labs: a name is taken whole or not at all, since tests may break what goes by it.
_NAME_LINE = re.compile(r"^name:[ \t]+[\"']?([a-z0-9][a-z0-9-]{0,31})[\"']?[ \t]*(?:#.*)?$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class RunningLab:
    """A lab as it was planned, and how it stands at the start of the test run."""

    places: Places
    plan: LabPlan
    status: LabStatus

    def nodes_for(self, file: str) -> list[str]:
        """Names of the nodes that a test file of this name is meant for."""
        meant = [node.name for node in self.plan.nodes if file in node.system.checks]
        return meant or [node.name for node in self.plan.nodes]


LAB = pytest.StashKey[RunningLab]()


def read_running_lab(lab: str) -> RunningLab:
    """The lab of that name, or of that lab file. Raises LabError when it is not up and ready."""
    places = Places.from_environment(os.environ)
    name = _lab_name(lab)
    now = status(name, places)
    if now.state != "ready":
        raise LabError(f"lab {name} is {now.state}, not ready", hint=f"nestlab up {lab}")
    return RunningLab(places, read_plan(places, name), now)


def _lab_name(lab: str) -> str:
    """A lab file is looked at for its name only: what is up was made from it as it was then."""
    if "/" not in lab and not lab.endswith((".yaml", ".yml")):
        return lab
    try:
        found = _NAME_LINE.search(Path(lab).read_text("utf-8", errors="replace"))
    except OSError as error:
        raise UsageError(f"the lab file {lab} cannot be read: {error.strerror}") from None
    if found is None:
        raise UsageError(f"{lab} has no `name:`", hint=f"nestlab validate {lab}")
    return found[1]


def pytest_report_header(config: pytest.Config) -> str:
    running = config.stash[LAB]
    nodes = ", ".join(f"{node.name} ({node.system.system} {node.system.release})" for node in running.plan.nodes)
    return f"nestlab: {running.status.lab} on {running.status.accelerator}: {nodes}"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "node" in metafunc.fixturenames:
        names = metafunc.config.stash[LAB].nodes_for(metafunc.definition.path.name)
        metafunc.parametrize("node", names, indirect=True, scope="session")


@pytest.fixture(scope="session")
def running_lab(pytestconfig: pytest.Config) -> RunningLab:
    """Everything that is known of the lab."""
    return pytestconfig.stash[LAB]


@pytest.fixture(scope="session")
def places(running_lab: RunningLab) -> Places:
    """Where nestlab keeps this lab's files."""
    return running_lab.places


@pytest.fixture(scope="session")
def lab(running_lab: RunningLab) -> Lab:
    """The lab as it was asked for, every value filled in."""
    return running_lab.plan.lab


@pytest.fixture(scope="session")
def world(running_lab: RunningLab) -> LabWorld:
    """The lab's hosts by name, and what can be done to them from outside: see builder.model.host.World. A test that
    does something undoes it; `nestlab net` and `nestlab disk` show what was left."""
    return LabWorld(running_lab.plan.lab.name, running_lab.places)


@pytest.fixture(scope="session")
def node(running_lab: RunningLab, request: pytest.FixtureRequest) -> Node:
    """The node that this test runs on, as it was asked for. Each test runs once for every node it is meant for."""
    return running_lab.plan.node(request.param).node


@pytest.fixture(scope="session")
def patience(running_lab: RunningLab) -> float:
    """What to multiply a time-out by that suits hardware: emulated nodes are slower."""
    return slower_by(running_lab.status)


@pytest.fixture(scope="session")
def procedures(world: LabWorld, patience: float) -> Engine:
    """Does host procedures on the lab's nodes, sees their effect and undoes them:
    `procedures.run(node.name, load_procedure("debug-mode"), parse_options(...))`."""
    return Engine(world, patience=patience)


@pytest.fixture(scope="session")
def ssh_config(running_lab: RunningLab, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file for `ssh -F` that knows every node of the lab by its name, with the lab's key and host keys."""
    targets = {node.name: node.ssh for node in running_lab.status.nodes if node.ssh is not None}
    config = tmp_path_factory.mktemp("ssh") / "config"
    config.write_text(ssh_config_text(targets))
    return config


@pytest.fixture(scope="session")
def host(running_lab: RunningLab, node: Node, patience: float, ssh_config: Path) -> testinfra.host.Host:
    """testinfra's view of the node, by ssh."""
    if all(each.name != node.name or each.ssh is None for each in running_lab.status.nodes):
        pytest.fail(f"there is no ssh to {node.name}: nestlab status {running_lab.status.lab}", pytrace=False)
    # The lab's keeper holds a connection open that this shares; none of our own is left behind.
    options = f"controlpersist=0&timeout={int(10 * patience)}"
    return testinfra.get_host(f"ssh://{node.name}?{options}", ssh_config=str(ssh_config))
