"""The commands of a bridge's service on a real kernel, in a network of its own; systemd reads the service."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from builder.model.host import HostResult
from builder.procedures.bridge import _LINKS, Asked, _nat, _unit, _unit_path, try_nat
from tests.support.local_host import LocalHost

pytestmark = pytest.mark.integration

# Runs the service's commands for starting ($1), says what came of it, and those for stopping ($2).
_TRY = """\
set -e
mount -t sysfs sysfs /sys
ip link add card0 type veth peer name cable0
ip address add 192.0.2.1/24 dev card0
sh -e -c "$1"
ip -j -d address show
echo ----
sh -c "$3"
echo ----
sh -e -c "$2"
ip -j -d address show
"""


def commands(unit: str, key: str) -> str:
    return "\n".join(line.removeprefix(key) for line in unit.splitlines() if line.startswith(key))


def test_the_kernel_makes_the_bridge_and_takes_it_away() -> None:
    asked = Asked(name="xenbr9", card="card0", address="192.0.2.1/24,fd00::1/64", mtu=1504)
    unit = _unit(asked)
    words = [commands(unit, "ExecStart="), commands(unit, "ExecStop=-"), _LINKS]
    done = subprocess.run(
        ["unshare", "--net", "--mount", "sh", "-c", _TRY, "sh", *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    up, seen, down = done.stdout.split("----\n")
    links = {link["ifname"]: link for link in json.loads(up)}
    bridge = links["xenbr9"]
    assert (bridge["mtu"], bridge["linkinfo"]["info_kind"], bridge["linkinfo"]["info_data"]["stp_state"]) == (
        1504,
        "bridge",
        0,
    )
    assert {"192.0.2.1/24", "fd00::1/64"} <= {f"{a['local']}/{a['prefixlen']}" for a in bridge["addr_info"]}
    assert links["card0"]["master"] == "xenbr9" and not [
        a for a in links["card0"]["addr_info"] if a["scope"] == "global"
    ]
    assert any(line.startswith("most card0 ") and int(line.split()[2]) >= 1504 for line in seen.splitlines())
    assert "link xenbr9 - 1504" in seen and "192.0.2.1/24" in seen and "link card0 xenbr9 1504" in seen
    assert "xenbr9" not in {link["ifname"] for link in json.loads(down)}


class Inside(LocalHost):
    """This machine with a network of its own, in which the bridge is there for the length of a command."""

    def __init__(self, up: str) -> None:
        self.up = up

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60) -> HostResult:
        inside = f'mount -t sysfs sysfs /sys; mount -t tmpfs tmpfs /run; set -e; {self.up}\n"$@"; ip netns list'
        return super().run(
            ["unshare", "--net", "--mount", "sh", "-c", inside, "sh", *argv], stdin=stdin, timeout=timeout
        )


@pytest.mark.parametrize(
    ("without", "said"),
    [("", "answered"), ("nft -f", "silence"), ("sysctl", "silence")],
    ids=["whole", "nft", "forward"],
)
def test_a_guests_packets_are_translated(tmp_path: Path, without: str, said: str) -> None:
    """On the real kernel: a made-up guest is answered by a network that knows the host alone; not so without each part
    of it."""
    asked = Asked(name="xenbr9", address="10.99.0.1/29", nat=True)
    rules = tmp_path / "rules.nft"
    rules.write_text(_nat(asked) or "")
    lines = commands(_unit(asked), "ExecStart=").replace("/etc/nestlab-bridge-xenbr9.nft", str(rules)).splitlines()
    kept = [line for line in lines if not without or not line.startswith(without)]
    assert len(kept) == len(lines) - bool(without)
    assert try_nat(Inside("\n".join(kept)), "xenbr9", "10.99.0.1/29") == said


@pytest.mark.parametrize("card", ["", "eth1", "en-p1"])
def test_systemd_takes_the_service(tmp_path: Path, card: str) -> None:
    path = tmp_path / _unit_path("xenbr9").rpartition("/")[2]
    path.write_text(_unit(Asked(name="xenbr9", card=card)))
    judged = subprocess.run(["systemd-analyze", "verify", path], capture_output=True, text=True, check=False)
    assert path.name not in judged.stderr, judged.stderr
    if card:
        escaped = subprocess.run(["systemd-escape", "--path", "--suffix=device", f"/sys/subsystem/net/devices/{card}"],
                                 capture_output=True, text=True, check=True).stdout.strip()  # fmt: skip
        assert f"After={escaped}\n" in path.read_text()


def test_the_rules_are_for_the_network_of_the_address() -> None:
    rules = _nat(Asked(name="xenbr-9", address="10.9.0.1/24", nat=True))
    assert rules is not None
    assert "table ip nestlab_xenbr_9 {" in rules and 'ip saddr 10.9.0.0/24 oifname != "xenbr-9" masquerade' in rules
