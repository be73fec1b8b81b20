"""Labs whose guests run on another machine: a real sshd and libvirtd in namespaces of their own (support/far_host)."""

from __future__ import annotations

import re
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.lifecycle.world import LabWorld
from tests.support.far_host import FOLDER, URI, FarBench, FarHost, far_host

pytestmark = pytest.mark.integration

TWO = """\
name: two
networks: {lan: {mtu: 9000}}
defaults: {system: tiny}
nodes:
  a:
    disks: [{size: 64MiB, name: boot}, {size: 32MiB, name: data}]
    networks: [{network: lan, trunk: [100], addresses: [10.0.0.1/24], vlan_addresses: {100: [10.0.100.1/24]}}]
  b:
    networks: [{network: lan, trunk: [100], addresses: [10.0.0.2/24], vlan_addresses: {100: [10.0.100.2/24]}}]
"""


@pytest.fixture(scope="module")
def far() -> Iterator[FarHost]:
    with far_host() as made:
        yield made


@pytest.fixture(scope="module")
def bench(far: FarHost) -> Iterator[FarBench]:
    scratch = Path(tempfile.mkdtemp(prefix="nlf-", dir="/var/tmp"))
    made = FarBench(scratch, far)
    yield made
    left = made.left()
    shutil.rmtree(scratch, ignore_errors=True)
    assert not left, left


@pytest.fixture(scope="module")
def two(bench: FarBench) -> Iterator[FarBench]:
    lab = bench.lab(TWO)
    bench.run("up", lab, "--connect", URI, check=True)
    yield bench
    bench.run("down", "two", check=True)
    assert bench.far.guests() == []
    assert bench.far.files(f"{FOLDER}/labs") == []


def test_both_nodes_run_there_and_are_entered_from_here(two: FarBench) -> None:
    guests = two.far.guests()
    assert [re.sub("[0-9a-f]{8}", "ID", name) for name in sorted(guests)] == ["nestlab-two-ID-a", "nestlab-two-ID-b"]
    assert two.status("two")["state"] == "ready"
    said = two.run("exec", "two", "b", "--", "sh", "-c", "hostname; echo err >&2; exit 37")
    assert (said.returncode, said.stdout, said.stderr) == (37, "b\n", "err\n")
    assert "nestlab-tiny: ready" in two.run("console", "two", "a", "--log", check=True).stdout
    two.run("up", two.lab(TWO), check=True)
    assert two.far.guests() == guests, "again, without --connect: nothing to do"


def test_the_definition_is_one_that_libvirt_finds_valid(two: FarBench, tmp_path: Path) -> None:
    text = (two.places.node("two", "a") / "domain.xml").read_text()
    (tmp_path / "other.xml").write_text(re.sub(r"<uuid>.*</uuid>", "", text).replace("-a</name>", "-other</name>"))
    two.far.run("virsh", "define", "--validate", tmp_path / "other.xml")
    two.far.run("virsh", "undefine", re.findall("<name>(.*)-a</name>", text)[0] + "-other")
    assert str(two.places.state) not in text and str(two.places.cache) not in text, "a path of this machine"


def test_lab_networks_reach_from_guest_to_guest(two: FarBench) -> None:
    for address, size in (("10.0.0.2", "56"), ("10.0.100.2", "8972")):
        said = two.run("exec", "two", "a", "--", "ping", "-c", "2", "-W", "5", "-s", size, address)
        assert said.returncode == 0, said.stdout + said.stderr


def test_cables_are_pulled_and_frames_recorded_there(two: FarBench) -> None:
    world = LabWorld("two", two.places)
    ping = ("exec", "two", "a", "--", "ping", "-c", "3", "-W", "2", "10.0.0.2")
    assert world.cut_path("a", "lan") is True
    assert two.run(*ping).returncode != 0
    assert world.cut_path("a", "lan", cut=False) is True
    assert two.run(*ping).returncode == 0
    assert world.shape("a", "lan", delay_ms=50) is True
    pinging = two.start(*ping)
    pcap = world.capture("lan", seconds=6)
    assert pinging.wait(20) == 0
    assert float(re.findall(r"time=([\d.]+)", pinging.communicate()[0])[0]) >= 100
    assert pcap[:4] == b"\xd4\xc3\xb2\xa1" and len(pcap) > 200
    counters = {(port.node, port.network): port.counters for port in world.ports()}
    assert counters["a", "lan"]["rx"] > 0 and counters["b", "lan"]["tx"] > 0


def test_a_disk_is_pulled_and_put_back_there(two: FarBench) -> None:
    world = LabWorld("two", two.places)
    assert [disk.plugged for disk in world.disks()] == [True, True]
    assert world.pull_disk("a", "data") is True
    assert [disk.plugged for disk in world.disks()] == [True, False]
    assert world.insert_disk("a", "data") is True
    assert [disk.plugged for disk in world.disks()] == [True, True]


def test_a_person_types_on_the_console(two: FarBench) -> None:
    with socket.socket(socket.AF_UNIX) as console:
        console.settimeout(30)
        console.connect(two.status("two")["nodes"][1]["console_socket"])
        console.sendall(b"\recho $((6*7))-typed\r")
        seen = b""
        while b"42-typed" not in seen:
            seen += console.recv(4096)
    log = two.places.node("two", "b") / "console.log"
    assert b"42-typed" in log.read_bytes() and log.stat().st_mode & 0o777 == 0o600


def test_what_a_guest_wrote_is_there_after_a_power_cycle(two: FarBench) -> None:
    """Its disk is sent once: a second power-on finds what the first left."""
    # Of two disks either may be sda: known by its size, in sectors
    boot = f"disk=/dev/$(grep -l '^{(64 << 20) // 512}$' /sys/block/sd*/size | cut -d/ -f4)"
    write = f"{boot}; echo mine | dd of=$disk bs=512 seek=1000 conv=notrunc; sync"
    two.run("exec", "two", "a", "--", "sh", "-c", write, check=True)
    LabWorld("two", two.places).power_cycle("a")
    read = f"{boot}; dd if=$disk bs=512 skip=1000 count=1 2>/dev/null | head -c 4"
    assert two.run("exec", "two", "a", "--", "sh", "-c", read).stdout == "mine"


def test_another_machine_for_a_lab_that_is_up_is_refused(two: FarBench) -> None:
    said = two.run("up", two.lab(TWO), "--connect", URI.replace("root@", ""))
    assert said.returncode == 2 and "lab two runs on qemu+ssh://root@l0" in said.stderr
    assert two.status("two")["state"] == "ready"
