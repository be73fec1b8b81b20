"""The names that a node has for the others, in its /etc/hosts."""

from __future__ import annotations

from typing import Any

from builder.model.lab import Lab, Network
from builder.systems.names import hosts_text
from tests.support.nodes import nic, tiny_node


def lab(**nodes: Any) -> Lab:
    made = tuple(tiny_node(name=name, nics=nics) for name, nics in nodes.items())
    networks = (Network(name="lan"), Network(name="san"), Network(name="far"))
    return Lab(name="x", description="", expires=0, networks=networks, nodes=made)


LAB = lab(
    a=(nic(1, addresses=("10.0.0.1/24",), trunk=(7,), vlan_addresses={7: ("10.7.0.1/24",)}),
       nic(2, network="san", addresses=("10.1.0.1/24", "fd00::1/64"))),
    b=(nic(3, network="san", addresses=("10.1.0.2/24", "fd00::2/64")), nic(4, addresses=("10.0.0.2/24",))),
    c=(nic(5, network="far", addresses=("10.2.0.3/24",)), nic(6, vlan=7, addresses=("10.7.0.3/24",))),
    d=(nic(7),),
)  # fmt: skip


def names(node: str, before: str = "") -> dict[str, list[str]]:
    text = hosts_text(LAB, LAB.node(node), before)
    rows = [line.split("\t") for line in text.splitlines() if not line.startswith("#")]
    return {address: called.split(" ") for address, called in rows if address not in ("127.0.0.1", "::1")}


def test_the_bare_name_is_that_of_the_first_segment_that_both_are_on() -> None:
    """b's first card is on san; a's first is on lan, so that a goes to b by lan."""
    assert names("a") == {
        "10.1.0.2": ["b.san"],
        "fd00::2": ["b.san"],
        "10.0.0.2": ["b", "b.lan"],
        "10.2.0.3": ["c.far"],
        "10.7.0.3": ["c", "c.vlan7.lan"],
    }
    assert names("b")["10.1.0.1"] == names("b")["fd00::1"] == ["a", "a.san"]


def test_without_a_common_segment_the_bare_name_is_the_first_address() -> None:
    """They may reach each other through a router."""
    assert names("b")["10.2.0.3"] == ["c", "c.far"]
    assert names("d")["10.0.0.1"] == ["a", "a.lan"]
    assert all("d" not in called for node in "abc" for called in names(node).values())


def test_what_was_there_stays_and_the_block_is_written_anew() -> None:
    first = hosts_text(LAB, LAB.node("d"), "127.0.0.1\tlocalhost\n127.0.1.1\td")
    assert first.startswith("127.0.0.1\tlocalhost\n127.0.1.1\td\n# ")
    assert hosts_text(LAB, LAB.node("d"), first) == first
    smaller = LAB.model_copy(update={"nodes": LAB.nodes[1:]})
    again = hosts_text(smaller, LAB.node("d"), first)
    assert "10.0.0.1" not in again and again.startswith("127.0.0.1\tlocalhost\n127.0.1.1\td\n# ")


def test_a_lab_without_addresses_has_no_names() -> None:
    bare = lab(a=(nic(1),), b=())
    assert hosts_text(bare, bare.node("a")) == ""
    assert hosts_text(bare, bare.node("a"), "mine\n") == "mine\n"
    assert hosts_text(LAB, LAB.node("a")).startswith("127.0.0.1\tlocalhost\n")
