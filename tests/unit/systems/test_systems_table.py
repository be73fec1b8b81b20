"""The table of systems: complete, cheap, and honest about names it does not have."""

from __future__ import annotations

import subprocess
import sys

import pytest

from builder.errors import LabError, LabFileError, UsageError
from builder.model.lab import Node
from builder.model.layers import NodeLayer
from builder.model.load import parse_lab
from builder.model.plan import SystemPlan
from builder.model.units import parse_size
from builder.systems import SYSTEMS, dead_settings, load_system, traits
from tests.support.nodes import debian_node, tiny_node


def test_every_row_gives_a_system_of_its_own_name() -> None:
    assert set(traits()) == set(SYSTEMS)
    for name in SYSTEMS:
        assert load_system(name).traits == traits()[name]
        assert traits()[name].name == name


def test_defaults_are_a_valid_piece_of_a_lab_file_at_or_above_the_minimum() -> None:
    for name, row in traits().items():
        layer = NodeLayer.model_validate(dict(row.defaults))
        assert layer.memory is not None
        assert layer.memory >= row.minimum.memory, name
        assert row.default_release in row.releases
        for disk in row.defaults.get("disks", ()):
            assert parse_size(disk["size"]) >= row.minimum.disk


def test_reading_the_traits_loads_no_renderer() -> None:
    code = "import sys; from builder.systems import traits; traits(); sys.exit('jinja2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_unknown_system_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match="no system 'windows'") as caught:
        load_system("windows")
    assert "debian" in str(caught.value.hint)


@pytest.mark.parametrize("system", sorted(SYSTEMS))
def test_an_unknown_release_is_refused_with_the_known_ones(system: str) -> None:
    with pytest.raises(LabError, match="'no-such'") as caught:
        load_system(system).plan(debian_node(system=system, release="no-such"))
    assert traits()[system].default_release in str(caught.value.hint)


@pytest.mark.parametrize(
    "node", [debian_node(), debian_node(release="12"), tiny_node()], ids=["debian-13", "debian-12", "tiny"]
)
def test_a_plan_is_data_that_survives_json_and_is_the_same_each_time(node: Node) -> None:
    plan = load_system(node.system).plan(node)
    assert SystemPlan.model_validate_json(plan.model_dump_json()) == plan
    assert load_system(node.system).plan(node) == plan


@pytest.mark.parametrize("system", [name for name, row in traits().items() if row.install is not None])
def test_settings_that_nothing_reads_are_explained(system: str) -> None:
    rows = {name: row for of, name, row in dead_settings() if of == system}
    assert len(rows) >= 5
    for name, row in rows.items():
        assert all((row.was, row.today, row.why, row.source)), name


@pytest.mark.parametrize("system", [name for name, row in traits().items() if row.install is not None])
@pytest.mark.parametrize("hidden", ["hunter2-hunter2", "$6$salt$s3cret", "x" * 5000])
def test_a_password_in_clear_is_refused_and_not_shown(system: str, hidden: str) -> None:
    text = (
        f"name: t\nnodes:\n  a:\n    system: {system}\n    source: {{medium: x.iso}}\n    disks: [{{size: 60GiB}}]\n"
        f"    install: {{root_password: {hidden}}}\n"
    )
    with pytest.raises(LabFileError, match="crypt hash") as refused:
        parse_lab(text.encode(), traits())
    (problem,) = refused.value.problems
    assert problem.line == 7 and problem.hint.startswith("make one with")
    assert hidden[:8] not in f"{refused.value} {problem.message} {problem.hint}"
