"""Procedures that need more than a host: drilled on the example labs that have it; and what stands against them, and
guests of theirs, in tests of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from builder.procedures import load_procedure
from ci.nightly.part import Desk, Figures, Part, Unit
from ci.nightly.procedures import RELEASES, drill_lab, inputs_of, judge, unit_name
from ci.nightly.programs import passed
from ci.nightly.reach import hosts, reach
from ci.proof import ROOT

FAILURES = "tests/nightly/test_procedure_failures.py"
FAILING = ("TestOneHost", "TestTwoHosts", "TestDisks")
ARRAYS = "tests/nightly/test_arrays.py"
IN_USE = (
    "test_another_policy_while_it_is_written_to",
    "test_disks_in_another_order",
    "test_the_plug_is_pulled_while_it_is_written_to[bitmap]",
    "test_the_plug_is_pulled_while_it_is_written_to[ppl]",
)
UPGRADES = "tests/nightly/test_upgrades.py"
NEWER = (
    "test_another_xen_runs_and_the_one_before_comes_back[{}]",
    "test_a_new_xen_that_does_not_start[{}-is no program]",
    "test_a_new_xen_that_does_not_start[{}-ends the machine]",
    "test_another_kernel_runs_and_the_one_before_comes_back[{}-same-name]",
    "test_another_kernel_runs_and_the_one_before_comes_back[{}-another-name]",
)
"""Of each release."""
WHOLE: Mapping[str, tuple[str, float]] = {
    "router-guest": ("tests/nightly/test_router_guest.py", 1200),
    "passed-card": ("tests/nightly/test_passthrough.py", 1200),
    "live-disk": ("tests/nightly/test_live_disk.py", 1800),
    "installed-guests": ("tests/nightly/test_installed_guests.py", 2600),
    "nested-virt": ("tests/nightly/test_nested_virt.py", 1800),
    "secure-boot-guest": ("tests/nightly/test_secure_boot_guest.py", 1800),
}
"""Files of tests that are one unit: its name, and its seconds."""
EXAMPLES = ("two-dom0", "router-trunk", "raid-sr", "multipath", "passthrough", "debian-guests")
"""The labs that tests bring up."""
# Lab, node, procedure and options.
LABS: tuple[tuple[str, str, str, Mapping[str, str]], ...] = (
    ("two-dom0", "alpha", "guest-migrate", {}),
    ("two-dom0", "alpha", "pci-hide", {"devices": "eth2"}),
    ("multipath", "dom0", "multipath", {}),
    ("passthrough", "dom0", "pci-assign", {"guest": "router", "devices": "00:05.0"}),
    ("raid-sr", "dom0", "raid-storage", {}),
    ("raid-sr", "dom0", "raid-storage", {"level": "1", "disks": "sdb,sdc"}),
    (
        "raid-sr",
        "dom0",
        "raid-storage",
        {"level": "6", "disks": "sdb,sdc,sdd,sde", "policy": "journal", "journal": "sdg"},
    ),
    ("raid-sr", "dom0", "raid-storage", {"level": "10", "disks": "sdb,sdc,sdd"}),
    ("raid-sr", "dom0", "raid-storage", {"disks": "sdb,sdc,sdf", "partitions": "true"}),
    ("raid-sr", "dom0", "raid-policy", {}),
)
FIRST: Mapping[str, Sequence[str]] = {
    "raid-policy": ("raid-storage", "level=5", "disks=sdb,sdc,sdd", "clean=true"),
}


def on_lab(name: str, node: str, procedure: str, given: Mapping[str, str], release: str, desk: Desk) -> Figures:
    """One that needs more than a host: on an example lab that has it. `given` are options beside those for drills."""
    text = (ROOT / f"labs/{name}.yaml").read_text("utf-8")
    lab = desk.folder / f"{name}-{release}.yaml"
    text = text.replace(f"name: {name}\n", f"name: {name}-{release}\n").replace(
        "release: 13\n", f"release: {release}\n"
    )
    lab.write_text(text, "utf-8")
    asked = {**load_procedure(procedure).drill.options, **given}
    options = [f"{key}={value}" for key, value in asked.items()]
    first = [node, *FIRST[procedure]] if procedure in FIRST else []
    words = [procedure, *options, "--node", node]
    return drill_lab(lab, unit_name(release, procedure, given), words, desk, first=first)


def units() -> Sequence[Unit]:
    labs = [
        Unit(unit_name(release, *row[2:]), partial(on_lab, *row, release), 1200, inputs_of(row[2], row[0]))
        for row in LABS
        for release in RELEASES
    ]
    newer = [name.format(release) for name in NEWER for release in RELEASES]
    several = ((FAILURES, FAILING, 1500), (ARRAYS, IN_USE, 1200), (UPGRADES, newer, 2400))
    return [
        *labs,
        *(tests(name, file, f"{file}::{name}", seconds) for file, names, seconds in several for name in names),
        *(tests(name, file, file, seconds) for name, (file, seconds) in WHOLE.items()),
    ]


def tests(name: str, file: str, words: str, seconds: float) -> Unit:
    """What `words` say of a file of tests."""
    return Unit(name, partial(passed, words), seconds, (*reach(file), *hosts(*EXAMPLES)))


PART = Part("procedures-labs", "host procedures on larger labs, and what stands against them", units, judge)
