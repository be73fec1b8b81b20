"""`nestlab net` and `nestlab disk` on tiny guests: what they say is held against what the guests see."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from builder.errors import LabError
from builder.lifecycle.world import LabWorld
from tests.support.lab import Bench, bench

pytestmark = pytest.mark.integration

LAB = """\
name: drill
networks:
  lan: {subnets: [10.9.0.0/24, 10.9.7.0/24]}
  other: {}
defaults:
  system: tiny
nodes:
  a:
    networks:
      - {network: lan, trunk: [7], addresses: [10.9.0.1/24], vlan_addresses: {7: [10.9.7.1/24]}}
      - {network: other, addresses: [fd00:9::1/64]}
    disks: [{size: 64MiB, name: boot}, {size: 32MiB, name: left}, {size: 48MiB, name: right}]
  b:
    networks:
      - {network: lan, addresses: [10.9.0.2/24]}
      - {network: lan, vlan: 7, addresses: [10.9.7.2/24]}
"""
RESCAN = "for host in /sys/class/scsi_host/*; do echo - - - >$host/scan; done"


@pytest.fixture(scope="module")
def here() -> Iterator[Bench]:
    with bench() as made:
        made.run("up", made.lab(LAB), check=True)
        yield made


@pytest.fixture
def world(here: Bench) -> Iterator[LabWorld]:
    """As new before each test, and after it."""
    world = LabWorld("drill", here.places)
    yield world
    for node, network in (("a", "lan"), ("a", "other"), ("b", "lan")):
        world.set_link(node, network, up=True)
        world.cut_path(node, network, cut=False)
        world.shape(node, network)


def sh(world: LabWorld, node: str, script: str, *, timeout: float = 60) -> str:
    done = world.host(node).run(["sh", "-c", script], timeout=timeout)
    assert done.ok, f"{script}: {done.stdout}{done.stderr}"
    return done.stdout


def until(probe: Callable[[], Any], wanted: Any, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while (seen := probe()) != wanted:
        assert time.monotonic() < deadline, f"{seen!r}, not {wanted!r}"
        time.sleep(0.2)


def pings(world: LabWorld, address: str, *, count: int = 3) -> tuple[int, float]:
    """From a: answers, and the mean round trip in ms."""
    said = world.host("a").run(["ping", "-c", str(count), "-W", "2", "-i", "0.2", address], timeout=120).stdout
    got = re.search(r"(\d+) packets received", said)
    mean = re.search(r"= [\d.]+/([\d.]+)/", said)
    assert got, said
    return int(got[1]), float(mean[1]) if mean else 0.0


def rows(here: Bench, verb: str) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = json.loads(here.run(verb, "drill", "-o", "json", check=True).stdout)
    return made


def test_the_table_has_every_card_with_what_it_carried(here: Bench, world: LabWorld) -> None:
    assert pings(world, "10.9.0.2")[0] == 3
    table = rows(here, "net")[:4]
    assert [(row["node"], row["network"], row["card"], row["vlan"], row["trunk"]) for row in table] == [
        ("a", "lan", 1, None, [7]), ("a", "other", 2, None, []), ("b", "lan", 1, None, []), ("b", "lan", 2, 7, []),
    ]  # fmt: skip
    assert all(row["running"] and row["link"] and not row["cut"] for row in table)
    assert table[0]["counters"]["rx"] >= 3 and table[0]["counters"]["tx_bytes"] > 3 * 98
    lines = here.run("net", "drill", check=True).stdout.splitlines()
    assert lines[0].split()[:4] == ["NETWORK", "MTU", "NODE", "CARD"] and len(lines) >= 5


def test_nodes_know_each_other_by_name_also_those_that_join_later(here: Bench, world: LabWorld) -> None:
    for name in ("b", "b.lan", "b.vlan7.lan"):
        assert world.host("a").run(["ping", "-c", "1", "-W", "5", name]).ok, name
    joined = LAB + "  c: {networks: [{network: lan, addresses: [10.9.0.3/24]}]}\n"
    here.run("up", here.lab(joined), check=True)
    assert world.host("a").run(["ping", "-c", "1", "-W", "5", "c"]).ok
    assert world.host("c").run(["ping", "-c", "1", "-W", "5", "a"]).ok
    assert sh(world, "a", "grep -c c.lan /etc/hosts") == "1\n"


def test_a_link_that_goes_down_is_seen_by_the_guest(here: Bench, world: LabWorld) -> None:
    def carrier() -> str:
        return sh(world, "a", "cat /sys/class/net/eth1/carrier /sys/class/net/eth2/carrier")

    assert carrier() == "1\n1\n"
    said = here.run("net", "drill", "link", "a", "lan", "down", check=True).stderr
    assert said == "a: its link on lan is down\n"
    until(carrier, "0\n1\n")
    assert pings(world, "10.9.0.2", count=1)[0] == 0
    assert [row["link"] for row in rows(here, "net")[:4]] == [False, True, True, True]
    assert "already" in here.run("net", "drill", "link", "a", "lan", "down", check=True).stderr
    assert world.set_link("a", "lan", up=True) is True
    until(carrier, "1\n1\n")
    until(lambda: pings(world, "10.9.0.2", count=1)[0], 1)


def test_a_cut_is_silent(here: Bench, world: LabWorld) -> None:
    here.run("net", "drill", "cut", "b", "lan", check=True)
    assert pings(world, "10.9.0.2", count=1)[0] == pings(world, "10.9.7.2", count=1)[0] == 0
    assert sh(world, "b", "cat /sys/class/net/eth1/carrier") == "1\n"
    assert [row["cut"] for row in rows(here, "net")[:4]] == [False, False, True, True]
    here.run("net", "drill", "join", "b", "lan", check=True)
    assert pings(world, "10.9.0.2")[0] == 3
    assert "already" in here.run("net", "drill", "join", "b", "lan", check=True).stderr


def test_delay_and_loss_are_what_was_asked_for(here: Bench, world: LabWorld) -> None:
    here.run("net", "drill", "shape", "b", "lan", "--delay", "100ms", check=True)
    got, mean = pings(world, "10.9.0.2")
    assert got == 3 and 200 <= mean < 500
    here.run("net", "drill", "shape", "b", "lan", "--loss", "30%", check=True)
    got, mean = pings(world, "10.9.0.2", count=60)
    assert 8 <= got <= 50, "each way loses 30 %: about half of the round trips"
    assert [(row["delay_ms"], row["loss"]) for row in rows(here, "net") if row["node"] == "b"] == [(0, 0.3)] * 2
    here.run("net", "drill", "shape", "b", "lan", "--reset", check=True)
    assert pings(world, "10.9.0.2")[0] == 3


def test_a_capture_holds_the_tagged_frames(here: Bench, world: LabWorld) -> None:
    tcpdump = shutil.which("tcpdump", path="/usr/bin:/usr/sbin")
    assert tcpdump, "apt-get install tcpdump"
    file = here.scratch / "lan.pcap"
    running = here.start("net", "drill", "capture", "lan", "--seconds", "600", "-o", file)
    time.sleep(3)
    assert pings(world, "10.9.7.2", count=2)[0] == 2
    assert not file.exists(), "it appears when it is whole"
    running.send_signal(signal.SIGINT)
    assert running.wait(20) == 0
    assert running.stderr is not None and running.stdout is not None
    running.stderr.close(), running.stdout.close()
    read = subprocess.run([tcpdump, "-nner", file], capture_output=True, text=True, check=True).stdout
    assert len(re.findall(r"vlan 7, .*ICMP echo (?:request|reply)", read)) == 4
    done = here.run("net", "drill", "capture", "other", "--seconds", "0.5", "-o", here.scratch / "o.pcap", check=True)
    assert re.fullmatch(r"\d+ frames\n", done.stderr)
    assert sorted(path.name for path in here.scratch.glob("*.pcap*")) == ["lan.pcap", "o.pcap"]


def test_a_pulled_disk_comes_back_with_what_was_on_it(here: Bench, world: LabWorld) -> None:
    before = device(world, 32)
    sh(world, "a", f"echo kept >{before}; sync")
    here.run("disk", "drill", "pull", "a", "left", check=True)
    assert not world.host("a").run(["dd", f"if={before}", "of=/dev/null", "bs=512", "count=1", "skip=999"]).ok
    assert [(row["plugged"], row["turn"]) for row in rows(here, "disk")] == [(True, 1), (False, 0), (True, 2)]
    assert "already" in here.run("disk", "drill", "pull", "a", "left", check=True).stderr
    sh(world, "a", f"echo 1 >/sys/block/{before.removeprefix('/dev/')}/device/delete")
    assert world.insert_disk("a", "left") is True
    assert world.insert_disk("a", "left") is False
    assert [(disk.plugged, disk.turn) for disk in world.disks()] == [(True, 1), (True, 3), (True, 2)], "tried last now"
    sh(world, "a", RESCAN)
    assert sh(world, "a", f"head -c 5 {device(world, 32)}") == "kept\n"


def device(world: LabWorld, mib: int) -> str:
    """The disk of this size of a."""
    found = sh(world, "a", "for disk in /sys/block/sd*; do echo $(cat $disk/size) /dev/${disk##*/}; done")
    return next(line.split()[1] for line in found.splitlines() if line.startswith(f"{(mib << 20) // 512} "))


def test_pytest_users_have_the_world(here: Bench, world: LabWorld) -> None:
    file = here.scratch / "test_theirs.py"
    file.write_text(
        "def test_cut(world, host):\n"
        "    assert world.cut_path('a', 'other')\n"
        "    assert [port.node for port in world.ports() if port.cut] == ['a']\n"
        "    assert world.cut_path('a', 'other', cut=False)\n"
    )
    done = here.run("test", "drill", "--", file, "-k", "test_cut")
    assert done.returncode == 0, done.stdout
    assert "3 passed" in done.stdout, "once for each node"


def test_what_is_not_there_is_named(here: Bench, world: LabWorld) -> None:
    for words, said in (
        (("net", "drill", "cut", "ghost", "lan"), "no node ghost"),
        (("net", "drill", "cut", "a", "wan"), "no network wan"),
        (("net", "drill", "link", "b", "other", "down"), "b has no card on network other"),
        (("net", "drill", "capture", "wan", "-o", str(here.scratch / "w.pcap")), "no network wan"),
        (("net", "drill", "capture", "lan", "-o", "/nowhere/w.pcap"), "cannot be written"),
        (("disk", "drill", "pull", "a", "middle"), "no disk middle"),
        (("disk", "drill", "order", "a", "boot", "left"), "names each of them once"),
        (("disk", "drill", "order", "a", "left", "boot", "right"), "has to stay the first"),
    ):
        done = here.run(*words)
        assert (done.returncode, done.stdout) == (1, "") and said in done.stderr, words
    with pytest.raises(LabError, match="does not know how to fly"):
        world._ask("fly")
    assert not list(here.scratch.glob("*w.pcap*"))


def test_a_node_that_powers_itself_off_is_seen_to(here: Bench, world: LabWorld) -> None:
    assert world.running("b")
    sh(world, "b", "(sleep 1; poweroff -f) </dev/null >/dev/null 2>&1 &")
    deadline = time.monotonic() + 60
    while world.running("b"):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    with pytest.raises(LabError, match="b is stopped"):
        LabWorld("drill", here.places).host("b")
    world.power_cycle("a")
    assert not world.running("b"), "nobody asked for it"
    world.power_cycle("b")
    assert world.running("b")
    with pytest.raises(LabError, match="no node nobody"):
        world.running("nobody")


def test_disks_come_in_another_order_after_a_power_cycle(here: Bench, world: LabWorld) -> None:
    """Last: the node's ssh port may be another one afterwards."""

    def sizes() -> list[int]:
        """In MiB, by SCSI id: names are given as disks answer, in any order."""
        said = sh(world, "a", "cat /sys/class/scsi_disk/*/device/block/*/size")
        return [int(size) * 512 >> 20 for size in said.split()]

    world.power_cycle("a")
    assert sizes() == [64, 32, 48]
    here.run("disk", "drill", "order", "a", "boot", "right", "left", check=True)
    assert sizes() == [64, 32, 48], "not yet"
    assert [row["place"] for row in rows(here, "disk")] == [1, 3, 2]
    here.run("disk", "drill", "order", "a", "boot", "right", "left", "--now", check=True)
    world = LabWorld("drill", here.places)
    assert sizes() == [64, 48, 32]
    assert here.status("drill")["state"] == "ready"
