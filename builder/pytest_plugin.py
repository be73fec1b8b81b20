"""pytest fixtures for a lab that is up: `pytest --nestlab LAB [FILES]`.

Fixtures: `lab` (what was asked for), `node` (each test runs once for every node it is meant for), `host` (testinfra's,
over ssh to that node), `ssh_config` (the file behind it), `patience` (what to multiply time-outs by), `places`.

A file that some node's system names among its checks runs on those nodes; any other file runs on every node of the lab.
Without --nestlab the plugin does nothing: the fixtures are not even there, and testinfra's `host` is testinfra's own.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import testinfra.host

    from builder.lifecycle.plan import LabPlan
    from builder.model.lab import Lab, Node
    from builder.model.runtime import LabStatus
    from builder.paths import Places

_NAME_LINE = re.compile(r"^name:\s+[\"']?([a-z0-9-]+)", re.MULTILINE)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("nestlab")
    group.addoption(
        "--nestlab",
        metavar="LAB",
        default=os.environ.get("NESTLAB_PYTEST_LAB"),
        help="run against this lab, which must be up: its name, or its lab file [env: NESTLAB_PYTEST_LAB]",
    )


def pytest_configure(config: pytest.Config) -> None:
    lab = config.getoption("--nestlab")
    if not lab:
        return
    from builder.errors import LabError  # noqa: PLC0415 - other projects' test runs load this module too

    try:
        fixtures = LabFixtures(lab)
    except LabError as error:
        raise pytest.UsageError(str(error)) from None
    # Registered late, so that its `host` stands before testinfra's.
    config.pluginmanager.register(fixtures, "nestlab-fixtures")


class LabFixtures:
    """The plugin proper, there only for a lab. Raises LabError when that lab is not ready."""

    def __init__(self, lab: str) -> None:
        from builder.errors import LabError  # noqa: PLC0415
        from builder.lifecycle.state import read_plan  # noqa: PLC0415
        from builder.lifecycle.status import status  # noqa: PLC0415
        from builder.paths import Places  # noqa: PLC0415

        self._places = Places.from_environment(os.environ)
        name = _lab_name(lab)
        self._status: LabStatus = status(name, self._places)
        if self._status.state != "ready":
            raise LabError(f"lab {name} is {self._status.state}, not ready", hint=f"nestlab up {lab}")
        self._plan: LabPlan = read_plan(self._places, name)

    def pytest_report_header(self) -> str:
        nodes = ", ".join(f"{node.name} ({node.system.system} {node.system.release})" for node in self._plan.nodes)
        return f"nestlab: {self._status.lab} on {self._status.accelerator}: {nodes}"

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if "node" in metafunc.fixturenames:
            names = self.nodes_for(Path(metafunc.definition.path).name)
            metafunc.parametrize("node", names, indirect=True, scope="session")

    def nodes_for(self, file: str) -> list[str]:
        """Names of the nodes that a test file of this name is meant for."""
        meant = [node.name for node in self._plan.nodes if file in node.system.checks]
        return meant or [node.name for node in self._plan.nodes]

    @pytest.fixture(scope="session")
    def places(self) -> Places:
        return self._places

    @pytest.fixture(scope="session")
    def lab(self) -> Lab:
        """The lab as it was asked for, every value filled in."""
        return self._plan.lab

    @pytest.fixture(scope="session")
    def node(self, request: pytest.FixtureRequest) -> Node:
        """The node that this test runs on, as it was asked for."""
        return self._plan.node(request.param).node

    @pytest.fixture(scope="session")
    def patience(self) -> float:
        """Emulated nodes are slower: a time-out that suits hardware is multiplied by this."""
        return 1.0 if self._status.accelerator == "kvm" else 8.0

    @pytest.fixture(scope="session")
    def ssh_config(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """A file for `ssh -F` that knows every node of the lab by its name, with the lab's key and host keys."""
        from builder.drivers.ssh import ssh_config  # noqa: PLC0415

        targets = {each.name: each.ssh for each in self._status.nodes if each.ssh is not None}
        config = tmp_path_factory.mktemp("ssh") / "config"
        config.write_text(ssh_config(targets))
        return config

    @pytest.fixture(scope="session")
    def host(self, node: Node, patience: float, ssh_config: Path) -> testinfra.host.Host:
        """testinfra's view of the node, by ssh."""
        import testinfra  # noqa: PLC0415

        if all(each.name != node.name or each.ssh is None for each in self._status.nodes):
            pytest.fail(f"there is no ssh to {node.name}: nestlab status {self._status.lab}", pytrace=False)
        # The lab's keeper holds a connection open that this shares; none of our own is left behind.
        options = f"controlpersist=0&timeout={int(10 * patience)}"
        return testinfra.get_host(f"ssh://{node.name}?{options}", ssh_config=str(ssh_config))


def _lab_name(lab: str) -> str:
    """The name of a lab given by name or by its file, which is looked at for nothing else."""
    from builder.errors import UsageError  # noqa: PLC0415

    if "/" not in lab and not lab.endswith((".yaml", ".yml")):
        return lab
    try:
        found = _NAME_LINE.search(Path(lab).read_text("utf-8", errors="replace"))
    except OSError as error:
        raise UsageError(f"the lab file {lab} cannot be read: {error.strerror}") from None
    if found is None:
        raise UsageError(f"{lab} has no `name:`", hint=f"nestlab validate {lab}")
    return found[1]
