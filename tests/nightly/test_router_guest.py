"""A guest that routes between two VLANs, which come to it tagged on one card: whole packets, seen on the wire."""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterator

import pytest

from builder.procedures.api import Card
from builder.procedures.guests import drill_guest
from tests.support.lab import ROOT, bench
from tests.support.procedure_lab import Lab, sh

pytestmark = pytest.mark.e2e

GATEWAYS = {10: "10.30.10.1/24", 20: "10.30.20.1/24"}
MAC = bytes.fromhex("00163e0d1111")
PINGS = 10


@pytest.fixture
def lab() -> Iterator[Lab]:
    with bench() as made:
        yield Lab(made, ROOT / "labs/router-trunk.yaml")


def packets(capture: bytes) -> Iterator[tuple[int, int, bool]]:
    """Of each IPv4 packet that the guest sent: its tag, its length, and whether it is but a piece of one."""
    at = 24
    while at + 16 <= len(capture):
        size = struct.unpack_from("<8xI", capture, at)[0]
        frame = capture[at + 16 : at + 16 + size]
        at += 16 + size
        if frame[6:12] == MAC and frame[12:14] == b"\x81\x00" and frame[16:18] == b"\x08\x00":
            tag, length, fragment = (struct.unpack_from(">H", frame, where)[0] for where in (14, 20, 24))
            yield tag & 0xFFF, length, bool(fragment & 0x3FFF)


def test_whole_packets_go_from_one_vlan_to_the_other(lab: Lab) -> None:
    dom0, left = lab.world.host("dom0"), lab.world.host("left")
    bridge = sh(dom0, "for b in /sys/class/net/*/bridge; do b=${b%/bridge}; [ ! -e $b/brif ] || "
                "[ $(cat $b/mtu) != 1504 ] || echo ${b##*/}; done").split()  # fmt: skip
    assert len(bridge) == 1, bridge
    for node, there, tag in (("left", "10.30.20.0/24", 10), ("right", "10.30.10.0/24", 20)):
        sh(lab.world.host(node), f"ip route add {there} via {GATEWAYS[tag].partition('/')[0]}")
    with drill_guest(dom0, Card(bridge[0], vlans=GATEWAYS)):
        sh(left, "for i in $(seq 120); do ping -c 1 -W 2 10.30.20.2 >/dev/null && exit 0; done; exit 1")
        caught: list[bytes] = []
        watch = threading.Thread(target=lambda: caught.append(lab.world.capture("trunk", seconds=60)))
        watch.start()
        said = sh(left, f"sleep 5; ping -c {PINGS} -s 1472 10.30.20.2")  # and 28 of headers
        watch.join()
    assert f"{PINGS} packets received" in said, said
    sent = [packet for packet in packets(caught[0]) if packet[1] > 1000]
    assert {tag: sum(packet[0] == tag for packet in sent) for tag in GATEWAYS} == {10: PINGS, 20: PINGS}
    assert {packet[1:] for packet in sent} == {(1500, False)}, "a packet was cut, or is not whole"
