"""`nestlab test` on a real lab of tiny nodes: the shipped checks pass, and fail when a node is not as asked for."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator

import pytest

from tests.support.lab import ROOT, Bench, bench
from tests.support.plugin import plugin_options

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def here() -> Iterator[Bench]:
    with bench() as made:
        made.env["PYTEST_ADDOPTS"] = " ".join(plugin_options())
        made.run("up", ROOT / "labs/two-tiny.yaml", check=True)
        yield made


def results(here: Bench) -> dict[str, bool]:
    """Whether each check passed, from the JUnit file that the command writes."""
    tree = ET.parse(here.places.lab("two-tiny") / "junit.xml")
    return {str(case.get("name")): not list(case) for case in tree.iter("testcase")}


def test_every_check_passes_on_every_node(here: Bench) -> None:
    done = here.run("test", "two-tiny")
    assert done.returncode == 0, done.stdout + done.stderr
    passed = results(here)
    assert all(passed.values())
    assert len(passed) == 8
    assert {name.partition("[")[2] for name in passed} == {"a]", "b]"}


def test_checks_see_what_is_wrong(here: Bench) -> None:
    """A smaller MTU on one node, and no address on its tagged interface."""
    here.run("exec", "two-tiny", "b", "--", "sh", "-c",
             "ip link set eth1 mtu 1400; ip address flush dev eth1.100; hostname else", check=True)  # fmt: skip
    done = here.run("test", "two-tiny")
    assert done.returncode == 1
    failed = {name for name, passed in results(here).items() if not passed}
    assert failed == {
        "test_the_node_is_who_it_was_told_to_be[b]",
        "test_cards_have_their_mtu_and_addresses[b]",
        "test_peers_answer_frames_as_large_as_the_network_carries[a]",
    } | (failed & {"test_peers_answer_frames_as_large_as_the_network_carries[b]"})
