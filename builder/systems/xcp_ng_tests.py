"""What xcp-ng-tests, the test suite of XCP-ng, has to be told to run on the hosts of a lab.

Source: xcp-ng-tests, as of 2026-09: `conftest.py` (--hosts: the master of each pool, with commas between them; --disks:
HOST:DISK,DISK, and without a word all of a host's disks), `lib/pool.py` (further hosts are reached at the address that
XAPI has of them), `lib/commands.py` (`ssh root@HOST`, so that ~/.ssh/config counts), `CONFIG.md` and
`lib/config_loader.py` (the overlay, in which unknown keys are refused).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from pydantic import Field

from builder.errors import UsageError
from builder.model.lab import Lab, Node, Value
from builder.model.plan import Finding
from builder.systems.debian.served import PORT, serial_of, target_name
from builder.systems.machine import machine_of
from builder.systems.target import named_by_chance
from builder.systems.xcpng.options import XcpngInstall

# The suite's own names: hostA1 is the master of pool A, hostA2 its second host, hostB1 the master of pool B.
_MEMBER = re.compile(r"(?:.*[^a-z0-9])?(?:host)?([a-z])([1-9])")
_ALONE = "10.0.2.15"  # what every management card has on its own user-mode network


class HostUnderTest(Value):
    """`address` is what the suite calls the host; `disks` are those that it may write to, as the host calls them,
    `nics` the cards that it may use."""

    node: str
    address: str
    disks: tuple[str, ...]
    nics: tuple[str, ...]


class SuiteArguments(Value):
    """`pools` begin with their master. `storage` are sections of the overlay. `findings` is what stands in the way."""

    pools: tuple[tuple[HostUnderTest, ...], ...]
    storage: dict[str, dict[str, str]] = Field(default_factory=dict)
    findings: tuple[Finding, ...] = ()

    @property
    def options(self) -> tuple[str, ...]:
        """For pytest."""
        masters = ",".join(pool[0].address for pool in self.pools)
        disks = (f"--disks={host.address}:{','.join(host.disks)}" for pool in self.pools for host in pool)
        return (f"--hosts={masters}", *disks)

    @property
    def overlay(self) -> str:
        """The text of `config.NAME.toml`: the same hosts, cards free for tests on all of them, and storage."""
        lines = ["# Made by nestlab. Passwords are for XAPI alone; ssh goes by keys.", "[hosts]"]
        lines += [f"{_quoted(pool[0].address)} = {{}}" for pool in self.pools]
        common = [nic for nic in self.pools[0][0].nics if all(nic in host.nics for pool in self.pools for host in pool)]
        lines += ["", "[network]", f"free_nics = [{', '.join(_quoted(nic) for nic in common)}]"]
        for section, values in self.storage.items():
            lines += ["", f"[storage.{section}]", *(f"{key} = {_quoted(value)}" for key, value in values.items())]
        return "\n".join(lines) + "\n"


def suite_arguments(lab: Lab, pools: Sequence[Sequence[str]] = ()) -> SuiteArguments:
    """`pools` are names of nodes, the master first; without any, a node's name tells (a1, a2, b1 or hosta1), and one
    that tells nothing is a pool of its own. Raises UsageError for a lab without XCP-ng, for pools of other nodes, and
    for disks whose names are left to chance.
    """
    known = {node.name: node for node in lab.nodes if node.system == "xcpng"}
    if not known:
        raise UsageError(f"lab {lab.name} has no XCP-ng host to be tested", hint="its nodes need system: xcpng")
    named = [name for pool in pools for name in pool]
    wrong = [name for name in named if name not in known or named.count(name) > 1]
    if wrong:
        raise UsageError(f"{wrong[0]} cannot be in these pools", hint=f"each XCP-ng host once: {', '.join(known)}")
    chosen = [list(pool) for pool in pools] or _by_name(list(known))
    made = tuple(tuple(_host(known[name]) for name in pool) for pool in chosen)
    return SuiteArguments(pools=made, storage=_storage(lab), findings=_findings(made))


def _by_name(names: list[str]) -> list[list[str]]:
    found: dict[str, list[tuple[str, str]]] = {}
    for name in names:
        member = _MEMBER.fullmatch(name)
        found.setdefault(member[1] if member else f" {name}", []).append((member[2] if member else "", name))
    pools = sorted(found) if all(len(key) == 1 for key in found) else list(found)
    return [[name for _, name in sorted(found[pool])] for pool in pools]


def _host(node: Node) -> HostUnderTest:
    options = XcpngInstall.model_validate(node.install)
    machine = machine_of(node, "kernel", options.devices)
    taken = {*(node.raid[0].disks if node.raid else (node.disks[0].name,)), *options.guest_disks}
    said = options.network.address
    address = node.name if said is None else said.partition("/")[0]
    nics = tuple(card.device for card in machine.cards if card.number not in (0, options.network.card))
    free = tuple(disk.path for disk in machine.disks if disk.name not in taken)
    for disk in named_by_chance(machine, free, in_order=True):
        raise UsageError(
            f"{node.name}: which of its disks is {disk} depends on which controller answers first",
            hint="put all of its disks on one bus, or give the host's own names in install.devices",
        )
    return HostUnderTest(node=node.name, address=address, disks=free, nics=nics)


def _storage(lab: Lab) -> dict[str, dict[str, str]]:
    """Of the lab's first storage node."""
    for node in lab.nodes:
        address = next((text.partition("/")[0] for nic in node.nics for text in nic.addresses), None)
        if node.storage is None or address is None:
            continue
        found: dict[str, dict[str, str]] = {}
        if node.storage.nfs:
            found["nfs"] = {"server": address, "serverpath": node.storage.nfs[0]}
        if node.storage.iscsi:
            found["lvmoiscsi"] = {
                "target": address,
                "port": str(PORT),
                "targetIQN": target_name(node),
                "SCSIid": scsi_id(serial_of(node, node.storage.iscsi[0])),
            }
        return found
    return {}


def scsi_id(serial: str) -> str:
    """What `scsi_id` of udev says of a LIO disk with this serial number: 3 for NAA, 6001405 for LIO, and the first 25
    hexadecimal digits of the number. Source: Linux, drivers/target/target_core_spc.c."""
    return f"36001405{serial.replace('-', '')[:25]}"


def _findings(pools: tuple[tuple[HostUnderTest, ...], ...]) -> tuple[Finding, ...]:
    found = []
    for pool in pools:
        vague = [host.node for host in pool if host.address == host.node]
        if len(pool) > 1 and vague:
            found.append(Finding(
                code="l0-pool-address", severity="warning", where=vague[0],
                message=f"{', '.join(vague)}: the suite reaches the hosts of a pool at the address that XAPI has of "
                f"them, and that is {_ALONE} for every host whose management network is its own",
                hint="give them install: {network: {card: 1, address: ...}} on a network that your machine is on",
            ))  # fmt: skip
    if len(pools) < 2:
        found.append(Finding(
            code="l0-one-pool", severity="warning",
            message="there is one pool: tests between pools (hostB1) are not among those that can run",
            hint="a second one is one more XCP-ng host",
        ))  # fmt: skip
    return tuple(found)


def _quoted(text: str) -> str:
    """TOML's basic string; names, addresses and paths of labs have neither quotes nor backslashes."""
    return f'"{text}"'
