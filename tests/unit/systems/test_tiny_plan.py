"""What tiny decides about a node, and by which lines its boot is followed."""

from __future__ import annotations

import queue
import subprocess
from pathlib import Path
from typing import Any

import pytest

from builder.drivers.boot import BootFollower
from builder.errors import NodeFailed
from builder.images import tiny as contract
from builder.model.lab import KernelSettings
from builder.systems.tiny.system import FAILED, READY, Tiny, phases
from tests.support.nodes import nic, tiny_node


def script(**changes: Any) -> str:
    plan = Tiny().plan(tiny_node(**changes))
    return next(file.content for file in plan.seed if file.path == contract.NETWORK)


def commands(text: str) -> list[str]:
    """The lines that do something for a card, without the function above them."""
    return [line for line in text.splitlines() if line.startswith(("ip ", "nic="))]


def test_cards_are_found_by_mac_and_get_mtu_addresses_and_vlans() -> None:
    addresses = ("10.0.0.1/24", "fd00::1/64")
    trunk = nic(1, mtu=9000, addresses=addresses, trunk=(10, 20), vlan_addresses={20: ("10.2.0.1/24",)})
    assert commands(script(nics=(trunk, nic(2, network="other", vlan=30)))) == [
        "nic=$(card 52:54:00:00:01:01)",
        'ip link set "$nic" mtu 9000 up',
        'ip address add 10.0.0.1/24 dev "$nic"',
        'ip address add fd00::1/64 dev "$nic"',
        'ip link add link "$nic" name "$nic.10" type vlan id 10',
        'ip link set "$nic.10" up',
        'ip link add link "$nic" name "$nic.20" type vlan id 20',
        'ip link set "$nic.20" up',
        'ip address add 10.2.0.1/24 dev "$nic.20"',
        "nic=$(card 52:54:00:00:01:02)",
        'ip link set "$nic" mtu 1500 up',
    ]


def test_without_lab_cards_the_script_does_nothing_and_ends_well() -> None:
    assert commands(script()) == []
    assert subprocess.run(["sh", "-e", "-c", script()], check=False).returncode == 0


def test_a_card_that_is_not_there_ends_the_script_badly() -> None:
    done = subprocess.run(["sh", "-e", "-c", script(nics=(nic(1),))], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "no network card has the address 52:54:00:00:01:01" in done.stderr


def test_all_tiny_nodes_of_a_release_share_one_image() -> None:
    one = Tiny().plan(tiny_node())
    other = Tiny().plan(tiny_node(name="other", nics=(nic(1),), kernel=KernelSettings(arguments=("quiet",))))
    assert one.recipe == other.recipe
    assert other.boot_args.kernel == ("quiet",)


def test_both_sides_of_the_contract_with_the_image_say_the_same() -> None:
    """`systems` and `images` are rooms of one floor and may not import each other."""
    assert (READY, FAILED) == (contract.READY, contract.FAILED)
    paths = {file.path for file in Tiny().plan(tiny_node()).seed}
    assert paths == {contract.HOSTNAME, contract.NETWORK}


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        ("[    0.9] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)", "kernel-panic"),
        ("[    0.4] Initramfs unpacking failed: write error", "no-root"),
        ("nestlab-tiny: failed: /etc/nestlab/network.sh ended with status 1", "network-script-failed"),
    ],
)
def test_a_boot_that_failed_is_told_by_its_cause(tmp_path: Path, said: str, cause: str) -> None:
    def quiet(*_: Any, **__: Any) -> None:
        """Nobody listens here."""

    console = tmp_path / "console.log"
    console.write_text(f"[    0.000000] Linux version 6.12.0-amd64 (debian-kernel)\n{said}\n")
    follower = BootFollower(console, phases(), node="x", emit=quiet, signals=queue.Queue(), scale=0.01)
    with pytest.raises(NodeFailed) as caught:
        follower.follow()
    assert (caught.value.cause, caught.value.phase) == (cause, "ready")
