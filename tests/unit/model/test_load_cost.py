"""What loading costs: modules, CPU and memory, each measured in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from ci.bench.plan_scale import LIMITS, large_lab, run_once
from tests.support.lab_files import SYSTEMS, lab_of
from tests.support.repo import ROOT

# Modules that only some labs, or only errors, need; each costs milliseconds at every start.
NOT_FOR_A_PLAIN_LAB = {
    "difflib", "jinja2", "jsonschema", "libvirt", "lxml", "subprocess", "asyncio", "rich", "click",
    "builder.model.schema", "builder.lifecycle.plan", "builder.drivers",
}  # fmt: skip


def loaded_modules(statement: str) -> set[str]:
    code = f"import sys\n{statement}\nprint('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    return set(done.stdout.splitlines())


def test_a_plain_lab_loads_nothing_that_it_does_not_need() -> None:
    loaded = loaded_modules(
        "from builder.model.load import read_lab\nfrom builder.systems.debian.traits import TRAITS\n"
        "read_lab('labs/debian-dom0.yaml', {'debian': TRAITS})"
    )
    assert "pydantic" in loaded and "yaml" in loaded
    assert loaded & NOT_FOR_A_PLAIN_LAB == set()


def test_a_thousand_nodes_load_within_the_limits(tmp_path: Path) -> None:
    """Half of what `nestlab plan` may take as a whole, from the start of the interpreter."""
    lab = tmp_path / "large.yaml"
    lab.write_text(large_lab(1000))
    runs = [run_once("load", lab) for _ in range(2)]
    assert min(cpu for cpu, _ in runs) < LIMITS["load"].cpu
    assert max(memory for _, memory in runs) < LIMITS["load"].memory


def test_the_large_lab_is_a_lab() -> None:

    lab = lab_of(large_lab(300).replace("system: debian", f"system: {next(iter(SYSTEMS))}"))
    assert len(lab.nodes) == 300
    assert len({mac for node in lab.nodes for mac in (node.management_mac, *(nic.mac for nic in node.nics))}) == 900
