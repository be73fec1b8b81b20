"""Guests through the switch: VLANs, 9000-byte frames, a cut cable, delay; and a capture that another program reads."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.drivers.switch import Switch
from builder.drivers.virt import Libvirt
from builder.images.store import Image
from builder.model.lab import Nic
from tests.support.guests import Guest, guest
from tests.support.kvm_cases import node

pytestmark = pytest.mark.integration

# a: a trunk with VLAN 10 tagged. b: an access port of VLAN 10 and a trunk. Both cards of b sit on one network.
TRUNK_A = """\
ip link set eth1 mtu 9000 up
ip addr add 10.1.0.1/24 dev eth1
ip link add link eth1 name eth1.10 type vlan id 10
ip addr add 10.1.10.1/24 dev eth1.10
ip link set eth1.10 mtu 8996 up
"""
BOTH_B = """\
ip link set eth1 mtu 9000 up
ip addr add 10.1.10.2/24 dev eth1
ip link set eth2 mtu 9000 up
ip addr add 10.1.0.2/24 dev eth2
"""


@pytest.fixture(scope="module")
def pair(
    embedded: Libvirt, tiny_image: Image, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Switch, Guest, Guest]]:
    folder = tmp_path_factory.mktemp("pair")
    switch = Switch()
    switch.networks({"lan": 9216})
    a = node(name="a", disks=(), nics=(Nic(network="lan", mac="52:54:00:aa:01:01", model="e1000", trunk=(10,)),))
    b = node(
        name="b",
        disks=(),
        nics=(
            Nic(network="lan", mac="52:54:00:aa:02:01", model="e1000", vlan=10),
            Nic(network="lan", mac="52:54:00:aa:02:02", model="e1000", trunk=(10,)),
        ),
    )
    with (
        guest(embedded, tiny_image, folder / "a", a, network=TRUNK_A, switch=switch) as one,
        guest(embedded, tiny_image, folder / "b", b, network=BOTH_B, switch=switch) as other,
    ):
        one.await_ssh()
        yield switch, one, other
    switch.close()


def ping(one: Guest, address: str, *, size: int = 56, count: int = 3) -> tuple[int, float]:
    """Answers, and the mean round trip in ms."""
    said = one.host.run(["ping", "-c", str(count), "-W", "3", "-s", str(size), address], timeout=60).stdout
    got = re.search(r"(\d+) packets received", said)
    mean = re.search(r"= [\d.]+/([\d.]+)/", said)
    assert got, said
    return int(got[1]), float(mean[1]) if mean else 0.0


@pytest.mark.parametrize(
    ("address", "size"),
    [("10.1.10.2", 56), ("10.1.10.2", 8968), ("10.1.0.2", 56), ("10.1.0.2", 8972)],
    ids=["vlan", "vlan-jumbo", "native", "native-jumbo"],
)
def test_ping(pair: tuple[Switch, Guest, Guest], address: str, size: int) -> None:
    """From the trunk: to the access port of VLAN 10, and untagged to the other trunk."""
    assert ping(pair[1], address, size=size)[0] == 3


def test_jumbo_frames_pass_whole_and_tagged(pair: tuple[Switch, Guest, Guest], tmp_path: Path) -> None:
    switch, one, _ = pair
    capture = switch.capture("lan")
    ping(one, "10.1.10.2", size=8968, count=1)
    data = switch.end_capture("lan", capture)
    sizes, offset = [], 24
    while offset < len(data):
        size = struct.unpack_from("<I", data, offset + 8)[0]
        if data[offset + 28 : offset + 34] == b"\x81\x00\x00\x0a\x08\x00":
            sizes.append(size)
        offset += 16 + size
    assert sizes == [8996 + 18] * 2, "request and answer, each one frame, tagged with VLAN 10"
    tcpdump = shutil.which("tcpdump", path="/usr/bin:/usr/sbin")
    assert tcpdump, "apt-get install tcpdump"
    (tmp_path / "x.pcap").write_bytes(data)
    read = subprocess.run([tcpdump, "-nner", tmp_path / "x.pcap"], capture_output=True, text=True, check=True).stdout
    assert len(re.findall(r"vlan 10, .*ICMP echo (?:request|reply)", read)) == 2


def test_a_cut_cable_and_a_mended_one(pair: tuple[Switch, Guest, Guest]) -> None:
    switch, one, _ = pair
    port = one.wiring.nics[0].switch
    switch.cut(port)
    assert ping(one, "10.1.0.2", count=1)[0] == 0
    switch.cut(port, False)
    assert ping(one, "10.1.0.2")[0] == 3


def test_delay_is_seen_by_the_guest(pair: tuple[Switch, Guest, Guest]) -> None:
    switch, one, _ = pair
    port = one.wiring.nics[0].switch
    switch.impair(port, delay_ms=100)
    try:
        got, mean = ping(one, "10.1.0.2")
    finally:
        switch.impair(port)
    assert got == 3 and 200 <= mean < 400


def test_a_stream_between_guests_arrives_whole(pair: tuple[Switch, Guest, Guest]) -> None:
    """Eight MiB over TCP. Rates are ci/bench/switch.py's business: here the emulated cards set them."""
    _, one, other = pair
    other.await_ssh()
    # Its input stays open: busybox' nc ends the connection with its own input.
    assert other.host.run(["sh", "-c", "(sleep 200 | nc -l -p 7 >/tmp/got) >/dev/null 2>&1 &"]).ok
    made = "dd if=/dev/urandom of=/tmp/sent bs=1M count=8 2>/dev/null"
    send = f"{made}; nc 10.1.0.2 7 </tmp/sent; md5sum </tmp/sent"
    sent = one.host.run(["sh", "-c", send], timeout=120).stdout
    said = other.host.run(["sh", "-c", "sleep 1; wc -c </tmp/got; md5sum </tmp/got"]).stdout
    assert said == f"{8 << 20}\n{sent}"
