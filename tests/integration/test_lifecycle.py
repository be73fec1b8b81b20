"""Labs of tiny guests, by the real command on real QEMU: up, use, change, break, down; and nothing left."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.events import read_events
from builder.lifecycle.state import read_owner
from builder.lifecycle.world import LabWorld
from tests.support.lab import ROOT, Bench, bench

pytestmark = pytest.mark.integration

ONE = """\
name: one
nodes:
  a:
    system: tiny
"""


@pytest.fixture
def here() -> Iterator[Bench]:
    with bench() as made:
        yield made


@pytest.fixture(scope="module")
def two() -> Iterator[Bench]:
    """The two-node lab, up for all tests that only use it."""
    with bench() as made:
        made.run("up", ROOT / "labs/two-tiny.yaml", check=True)
        yield made


def wait_for_file(path: Path, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.02)


def test_one_node_from_up_to_down(here: Bench) -> None:
    lab = here.lab(ONE)
    here.run("up", lab, check=True)
    status = here.status("one")
    assert (status["lab"], status["state"]) == ("one", "ready")
    (node,) = status["nodes"]
    assert (node["name"], node["system"], node["state"]) == ("a", "tiny", "ready")
    assert Path(node["ssh"]["identity_file"]).stat().st_mode & 0o777 == 0o600

    said = here.run("exec", "one", "a", "--", "sh", "-c", "echo out; echo err >&2; exit 37")
    assert (said.returncode, said.stdout, said.stderr) == (37, "out\n", "err\n")
    assert here.run("exec", lab, "a", "--", "hostname").stdout == "a\n"
    assert here.run("exec", "one", "ghost", "--", "true").returncode == 255

    assert [x["lab"] for x in json.loads(here.run("ls", "-o", "json", check=True).stdout)] == ["one"]
    events = list(read_events(here.places.lab("one") / "events.jsonl"))
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert "nestlab-tiny: ready" in here.run("console", "one", "a", "--log", check=True).stdout

    here.run("down", "one", check=True)
    assert here.left() == []
    assert here.run("down", "one").returncode == 0, "down twice is fine"
    assert here.run("status", "one").returncode == 1


def test_up_again_does_nothing(two: Bench) -> None:
    before = two.status("two-tiny")
    started = time.monotonic()
    two.run("up", ROOT / "labs/two-tiny.yaml", check=True)
    assert time.monotonic() - started < 10
    after = two.status("two-tiny")
    assert before == after


def test_what_tells_of_a_lab_is_put_together(two: Bench, tmp_path: Path) -> None:
    out = tmp_path / "evidence"
    said = two.run("collect", "two-tiny", "--out", out, "-o", "json", check=True)
    files = set(json.loads(said.stdout)["files"])
    assert files == {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    assert files >= {"plan.json", "events.jsonl", "nodes/a/console.log", "nodes/a/domain.xml", "nodes/b/kernel.log"}
    assert "10.0.100." in (out / "nodes/a/network.txt").read_text()
    assert out.stat().st_mode & 0o777 == 0o700
    assert not [name for name in files if "ssh" in name or ("disk" in name.lower() and not name.endswith("disks.txt"))]


def test_ping_across_a_vlan_trunk_and_a_frame_of_9000_bytes(two: Bench) -> None:
    world = LabWorld("two-tiny", two.places)
    addresses = world.host("b").run(["ip", "-o", "-4", "addr"]).stdout
    plain = next(line.split()[3].split("/")[0] for line in addresses.splitlines() if line.split()[1] == "eth1")
    tagged = next(
        line.split()[3].split("/")[0] for line in addresses.splitlines() if line.split()[1].startswith("eth1.")
    )
    for address, size in ((plain, "56"), (tagged, "56"), (plain, "8972"), (tagged, "8972")):
        ping = world.host("a").run(["ping", "-c", "3", "-W", "5", "-s", size, address])
        assert ping.ok, f"{address} with {size} bytes: {ping.stdout}{ping.stderr}"


def test_what_passes_the_switch_is_tagged_whole_jumbo_frames(two: Bench) -> None:
    """The same, seen from outside: no fragments, and the 802.1Q tag on the trunk."""
    world = LabWorld("two-tiny", two.places)
    addresses = world.host("b").run(["ip", "-o", "-4", "addr"]).stdout
    tagged = next(
        line.split()[3].split("/")[0] for line in addresses.splitlines() if line.split()[1].startswith("eth1.")
    )
    network = "lan"
    taken: list[bytes] = []
    thread = threading.Thread(target=lambda: taken.append(world.capture(network, seconds=4)))
    thread.start()
    time.sleep(1)
    assert world.host("a").run(["ping", "-c", "2", "-s", "8972", tagged]).ok
    thread.join(20)
    (pcap,) = taken
    frames = _frames(pcap)
    jumbo = [frame for frame in frames if len(frame) == 14 + 4 + 9000]
    assert jumbo, sorted({len(frame) for frame in frames})
    assert all(frame[12:14] == b"\x81\x00" for frame in jumbo)
    # 0x2000: more fragments; the low 13 bits: an offset
    assert all(int.from_bytes(frame[14 + 4 + 6 : 14 + 4 + 8]) & 0x3FFF == 0 for frame in jumbo)


def _frames(pcap: bytes) -> list[bytes]:
    assert pcap[:4] in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1"), pcap[:4]
    frames, at = [], 24
    while at < len(pcap):
        size = int.from_bytes(pcap[at + 8 : at + 12], "little")
        frames.append(pcap[at + 16 : at + 16 + size])
        at += 16 + size
    return frames


def test_a_cut_path_carries_nothing_until_it_is_mended(two: Bench) -> None:
    world = LabWorld("two-tiny", two.places)
    addresses = world.host("b").run(["ip", "-o", "-4", "addr"]).stdout
    plain = next(line.split()[3].split("/")[0] for line in addresses.splitlines() if line.split()[1] == "eth1")
    world.cut_path("a", "lan")
    assert not world.host("a").run(["ping", "-c", "1", "-W", "2", plain]).ok
    world.cut_path("a", "lan", cut=False)
    assert world.host("a").run(["ping", "-c", "3", "-W", "5", plain]).ok


def test_a_change_to_a_live_node_is_refused_with_what_differs(here: Bench) -> None:
    here.run("up", here.lab(ONE), check=True)
    changed = here.lab(ONE + "    memory: 320MiB\n")
    refused = here.run("up", changed)
    assert refused.returncode == 2
    assert "hardware.memory" in refused.stderr
    assert "--recreate a" in refused.stderr
    assert here.status("one")["state"] == "ready"
    here.run("up", changed, "--recreate", "a", check=True)
    total = here.run("exec", "one", "a", "--", "grep", "MemTotal", "/proc/meminfo", check=True).stdout
    assert int(total.split()[1]) > 256 * 1024


def test_a_new_node_joins_and_a_stopped_one_is_started_again(here: Bench) -> None:
    here.run("up", here.lab(ONE), check=True)
    here.run("exec", "one", "a", "--", "sh", "-c", "poweroff >/dev/null 2>&1 &")
    deadline = time.monotonic() + 30
    while here.status("one")["nodes"][0]["state"] != "stopped":
        assert time.monotonic() < deadline
        time.sleep(0.2)
    here.run("up", here.lab(ONE + "  b:\n    system: tiny\n"), check=True)
    assert [node["state"] for node in here.status("one")["nodes"]] == ["ready", "ready"]
    assert here.run("exec", "one", "b", "--", "hostname").stdout == "b\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
def test_an_interrupt_takes_everything_down(here: Bench, number: signal.Signals) -> None:
    up = here.start("up", here.lab(ONE))
    wait_for_file(here.places.lab("one") / "nodes/a/console.log")
    up.send_signal(number)
    assert up.wait(30) == 130
    deadline = time.monotonic() + 10
    while here.left():
        assert time.monotonic() < deadline, here.left()
        time.sleep(0.05)


def test_a_killed_up_takes_the_lab_with_it(here: Bench) -> None:
    up = here.start("up", here.lab(ONE))
    wait_for_file(here.places.lab("one") / "nodes/a/console.log")
    up.kill()
    up.wait()
    deadline = time.monotonic() + 10
    while here.left():
        assert time.monotonic() < deadline, here.left()
        time.sleep(0.05)


def test_a_killed_keeper_is_told_and_down_cleans_up_after_it(here: Bench) -> None:
    here.run("up", here.lab(ONE), check=True)
    owner = read_owner(here.places.lab("one") / "lock")
    assert owner is not None
    os.kill(owner.pid, signal.SIGKILL)
    time.sleep(0.2)
    assert here.status("one")["state"] == "dead"
    here.run("down", "one", check=True)
    assert here.left() == []


def test_up_after_a_killed_keeper_keeps_the_disks(here: Bench) -> None:
    lab = here.lab(ONE + "    disks: [{size: 64MiB}]\n")
    here.run("up", lab, check=True)
    here.run("exec", "one", "a", "--", "sh", "-c", "echo kept > /dev/sda; sync", check=True)
    owner = read_owner(here.places.lab("one") / "lock")
    assert owner is not None
    os.kill(owner.pid, signal.SIGKILL)
    time.sleep(0.2)
    here.run("up", lab, check=True)
    assert here.run("exec", "one", "a", "--", "head", "-c", "5", "/dev/sda").stdout == "kept\n"


def test_a_lab_of_an_unknown_version_can_still_be_taken_down(here: Bench) -> None:
    here.run("up", here.lab(ONE), check=True)
    owner = read_owner(here.places.lab("one") / "lock")
    assert owner is not None
    os.kill(owner.pid, signal.SIGKILL)
    for name in ("state.json", "plan.json"):
        (here.places.lab("one") / name).write_text('{"v": 99}')
    refused = here.run("exec", "one", "a", "--", "true")
    assert refused.returncode == 255
    assert "99" in refused.stderr
    here.run("down", "one", check=True)
    assert here.left() == []


def test_a_node_that_cannot_boot_is_named_with_its_last_lines_and_leaves_evidence(here: Bench) -> None:
    lab = here.lab(ONE + "    kernel: {arguments: rdinit=/nowhere root=/dev/nothing}\n")
    failed = here.run("up", lab)
    assert failed.returncode == 1
    assert "kernel-panic" in failed.stderr
    assert "not syncing" in failed.stderr
    evidence = here.places.state / "failures/one"
    assert "not syncing" in (evidence / "nodes/a/console.log").read_text(errors="replace")
    assert here.run("status", "one").returncode == 1


def test_a_pulled_disk_is_gone_for_the_guest(here: Bench) -> None:
    here.run("up", here.lab(ONE + "    disks: [{size: 64MiB, name: left}, {size: 64MiB, name: right}]\n"), check=True)
    world = LabWorld("one", here.places)
    # By their places on the bus: which of them is sda depends on which one answers first.
    listed = world.host("a").run(["sh", "-c", "ls -d /sys/bus/scsi/devices/*:0:[01]:0/block/*"]).stdout.split()
    left, right = (f"if=/dev/{path.rpartition('/')[2]}" for path in listed)
    assert world.host("a").run(["dd", right, "of=/dev/null", "bs=512", "count=1"]).ok
    world.pull_disk("a", "right")
    assert not world.host("a").run(["dd", right, "of=/dev/null", "bs=512", "count=1", "skip=9999"]).ok
    assert world.host("a").run(["dd", left, "of=/dev/null", "bs=512", "count=1", "skip=9999"]).ok
