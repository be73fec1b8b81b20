"""What a lab takes from the machine it is to run on: refused, or worth a note."""

from __future__ import annotations

from builder.model.lint import HostLimits
from builder.model.load import parse_lab
from builder.model.units import GIB
from tests.support.lab_files import SYSTEMS, problems_of

LIMITS = HostLimits(memory=16 * GIB, cpus=2, disk_free=3 * GIB)
HEAD = "name: t\ndefaults: {system: host}\nnodes:\n"


def noted(text: str, limits: HostLimits | None = LIMITS) -> list[tuple[str, int, str]]:
    return [(p.code, p.line, p.message) for p in parse_lab(text.encode(), SYSTEMS, limits=limits).notes]


def test_memory_of_all_nodes_together() -> None:
    text = HEAD + "  a: {memory: 2GiB}\n  b: {memory: 12GiB}\n  c: {memory: 3GiB}\n"
    (problem,) = problems_of(text, limits=LIMITS)
    assert (problem.code, problem.line, problem.column) == ("lab-host-memory", 5, 15)
    assert problem.message == (
        "the nodes ask for 17.0GiB of memory (b 12GiB, c 3GiB, a 2GiB), and this machine has 16.0GiB"
    )
    assert problems_of(text) == ()


def test_many_nodes_are_summed_up() -> None:
    text = HEAD + "".join(f"  n{number}: {{memory: 1GiB}}\n" for number in range(40))
    limits = HostLimits(memory=16 * GIB, cpus=2, disk_free=100 * GIB)
    (problem,) = problems_of(text, limits=limits)
    assert "40.0GiB" in problem.message and "and 34 more)" in problem.message


def test_processors() -> None:
    (problem,) = problems_of(HEAD + "  a: {cpus: 9}\n", limits=LIMITS)
    assert (problem.code, problem.line) == ("lab-host-cpus", 4)
    assert problem.message == "node 'a' asks for 9 cpus, and this machine has 2"
    assert problems_of(HEAD + "  a: {cpus: 8}\n", limits=LIMITS) == ()
    assert ("lab-host-cpus", 4, "node 'a' has 8 cpus, and this machine 2") in noted(HEAD + "  a: {cpus: 8}\n")


def test_disk_space_that_the_nodes_will_write() -> None:
    nodes = "  a: {memory: 1GiB}\n  b: {memory: 1GiB}\n  c: {memory: 1GiB}\n"
    assert problems_of(HEAD + nodes, limits=LIMITS) == ()
    (problem,) = problems_of(HEAD + nodes + "  d: {memory: 1GiB}\n", limits=LIMITS)
    assert (problem.code, problem.line) == ("lab-host-disk", 3)
    assert problem.message == "the nodes will write about 4.0GiB, and 3.0GiB are free here"


def test_thin_disks_that_could_fill_the_machine_are_a_note() -> None:
    assert noted(HEAD + "  a:\n") == [("lab-host-disk", 3, "the disks could grow to 16.0GiB, and 3.0GiB are free here")]
    assert noted(HEAD + "  a:\n", None) == []


def test_network_without_nodes_is_a_note() -> None:
    text = "name: t\nnetworks:\n  lan: {}\n  wan: {}\nnodes: {a: {system: small, networks: [wan]}}\n"
    assert noted(text) == [("lab-unused-network", 3, "no node is on network 'lan'")]
