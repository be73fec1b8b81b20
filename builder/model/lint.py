"""Findings about a whole lab: what its nodes have in common, wait for, and take from the machine they run on."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from builder.errors import Problem
from builder.model.document import Document, Path
from builder.model.lab import Lab
from builder.model.lint_addresses import lint_addresses
from builder.model.lint_guests import lint_guests
from builder.model.lint_node import lint_node
from builder.model.lint_storage import lint_storage
from builder.model.plan import SystemTraits
from builder.model.report import Report
from builder.model.subject import Subject
from builder.model.units import GIB, MIB, show_size
from builder.model.words import listing, shorten, suggest

# A guest with this many times the processors that the host has spends its time waiting for itself.
CPU_FACTOR = 4


@dataclass(frozen=True, slots=True)
class HostLimits:
    """What the machine has that the lab is to run on: memory and free disk in bytes, and processors."""

    memory: int
    cpus: int
    disk_free: int


def lint(
    lab: Lab,
    report: Report,
    systems: Mapping[str, SystemTraits],
    *,
    limits: HostLimits | None = None,
    other_nodes: Collection[str] = (),
    other_networks: Collection[str] = (),
) -> None:
    """Add everything that does not fit together to the report.

    `other_nodes` and `other_networks` stand in the file but are wrong in themselves, so that they are not in `lab`;
    naming them is no mistake.
    """
    if not lab.nodes and not other_nodes and not report.problems:
        report.add("lab-no-nodes", "the lab has no nodes", "add nodes: {host1: {system: debian}}", ("nodes",))
    for node in lab.nodes:
        lint_node(node, systems[node.system], report)
        lint_guests(Subject(node, systems[node.system], report))
        lint_storage(Subject(node, systems[node.system], report))
    _networks(lab, report, other_networks)
    _macs(lab, report)
    lint_addresses(lab, report)
    _after(lab, report, other_nodes)
    if limits is not None:
        _limits(lab, report, systems, limits)


def notes(lab: Lab, document: Document, *, limits: HostLimits | None = None) -> tuple[Problem, ...]:
    """What is worth a line to the user and keeps nothing from working."""
    report = Report(document)
    used = {nic.network for node in lab.nodes for nic in node.nics}
    for network in lab.networks:
        if network.name not in used:
            report.add(
                "lab-unused-network",
                f"no node is on network {shorten(network.name)}",
                "remove it, or put a node on it",
                ("networks", network.name),
                key=True,
            )
    if limits is not None:
        for node in lab.nodes:
            if limits.cpus < node.cpus <= CPU_FACTOR * limits.cpus:
                report.add(
                    "lab-host-cpus",
                    f"node {shorten(node.name)} has {node.cpus} cpus, and this machine {limits.cpus}",
                    "it will run, and slower than with fewer",
                    ("nodes", node.name, "cpus"),
                )
        virtual = sum(disk.size for node in lab.nodes for disk in node.disks)
        if virtual > limits.disk_free:
            report.add(
                "lab-host-disk",
                f"the disks could grow to {_rounded(virtual)}, and {_rounded(limits.disk_free)} are free here",
                "disks are thin; this matters only if the nodes fill them",
                ("nodes",),
                key=True,
            )
    return tuple(report.problems)


def _networks(lab: Lab, report: Report, others: Collection[str]) -> None:
    known = [*(network.name for network in lab.networks), *others]
    names = set(known)
    mtus = {network.name: network.mtu for network in lab.networks}
    for node in lab.nodes:
        for index, nic in enumerate(node.nics):
            if nic.mtu > (most := mtus.get(nic.network, nic.mtu)):
                report.add(
                    "lab-mtu",
                    f"node {shorten(node.name)}: card {index + 1} has an MTU of {nic.mtu}, and its network "
                    f"{nic.network} carries {most}",
                    f"give the network mtu: {nic.mtu}, or the card {most} or less",
                    ("nodes", node.name, "networks", index, "mtu"),
                )
            if nic.network in names or report.full:
                continue
            hint = suggest(nic.network, known, kind="networks") if known else f"add networks: {{{nic.network}: {{}}}}"
            report.add(
                "lab-unknown-network",
                f"node {shorten(node.name)}: no network is called {shorten(nic.network)}",
                hint,
                ("nodes", node.name, "networks", index, "network"),
            )


def _macs(lab: Lab, report: Report) -> None:
    """Cards of nodes and interfaces of their guests: bridges bring them together."""
    seen: dict[str, Path] = {}
    for node in lab.nodes:
        base: Path = ("nodes", node.name)
        cards: list[tuple[Path, str]] = [((*base, "management_mac"), node.management_mac)]
        cards += [((*base, "networks", index, "mac"), nic.mac) for index, nic in enumerate(node.nics)]
        cards += [
            ((*base, "guests", index, "vifs", at, "mac"), vif.mac)
            for index, guest in enumerate(node.guests)
            for at, vif in enumerate(guest.vifs)
        ]
        for path, mac in cards:
            first = seen.setdefault(mac, path)
            if first == path:
                continue
            report.add(
                "lab-duplicate-mac",
                f"{_card(lab, path)} has the address {mac} of {_card(lab, first)} ({report.where(first)})",
                "a mac under `defaults:` goes to every node; move it to one node, or leave it out"
                if report.inherited(path)
                else "leave mac out and each card gets one of its own",
                path,
            )


def _card(lab: Lab, path: Path) -> str:
    node = shorten(str(path[1]))
    if path[2] == "management_mac":
        return f"the management card of node {node}"
    if path[2] == "networks":
        return f"card {int(path[3]) + 1} of node {node}"
    return f"interface {int(path[5]) + 1} of guest {lab.node(str(path[1])).guests[int(path[3])].name} of node {node}"


def _after(lab: Lab, report: Report, others: Collection[str]) -> None:
    known = [*(node.name for node in lab.nodes), *others]
    names = set(known)
    for node in lab.nodes:
        for index, name in enumerate(node.after):
            if name not in names and not report.full:
                report.add(
                    "lab-after-unknown",
                    f"node {shorten(node.name)} waits for {shorten(name)}, which is not in the lab",
                    suggest(name, known, kind="nodes"),
                    ("nodes", node.name, "after", index),
                )
    for cycle in _cycles({node.name: node.after for node in lab.nodes}):
        name, awaited = cycle[0], cycle[1 % len(cycle)]
        index = next(node for node in lab.nodes if node.name == name).after.index(awaited)
        report.add(
            "lab-after-cycle",
            f"nodes wait for each other: {' -> '.join((*cycle, name)) if len(cycle) < 24 else listing(cycle)}",
            "take one of them out of `after`",
            ("nodes", name, "after", index),
        )


def _cycles(graph: Mapping[str, tuple[str, ...]]) -> list[list[str]]:
    """One cycle for each group of nodes that wait for each other; iterative, a chain may be as long as the lab."""
    done: set[str] = set()
    found = []
    for start in graph:
        trail: list[str] = []
        on_trail: dict[str, int] = {}
        stack = [(start, iter(graph[start]))] if start not in done else []
        if stack:
            on_trail[start] = 0
            trail.append(start)
        while stack:
            name, rest = stack[-1]
            step = next((each for each in rest if each in graph and each not in done), None)
            if step is None:
                stack.pop()
                done.add(name)
                del on_trail[trail.pop()]
            elif step in on_trail:
                found.append(trail[on_trail[step] :])
                done.update(found[-1])
            else:
                on_trail[step] = len(trail)
                trail.append(step)
                stack.append((step, iter(graph[step])))
    return found


def _limits(lab: Lab, report: Report, systems: Mapping[str, SystemTraits], limits: HostLimits) -> None:
    memory = sum(node.memory for node in lab.nodes)
    if memory > limits.memory:
        largest = max(lab.nodes, key=lambda node: node.memory)
        report.add(
            "lab-host-memory",
            f"the nodes ask for {_rounded(memory)} of memory ({_shares(lab)}), and this machine has "
            f"{_rounded(limits.memory)}",
            "give nodes less memory, take some out, or run the lab on a larger machine",
            ("nodes", largest.name, "memory"),
        )
    for node in lab.nodes:
        if node.cpus > CPU_FACTOR * limits.cpus:
            report.add(
                "lab-host-cpus",
                f"node {shorten(node.name)} asks for {node.cpus} cpus, and this machine has {limits.cpus}",
                f"{CPU_FACTOR * limits.cpus} at most here; more makes the node stall",
                ("nodes", node.name, "cpus"),
            )
    written = sum(systems[node.system].footprint for node in lab.nodes if node.disks)
    if written > limits.disk_free:
        report.add(
            "lab-host-disk",
            f"the nodes will write about {_rounded(written)}, and {_rounded(limits.disk_free)} are free here",
            "free some space, or take nodes out",
            ("nodes",),
            key=True,
        )


def _shares(lab: Lab) -> str:
    by_size = sorted(lab.nodes, key=lambda node: (-node.memory, node.name))
    return listing([f"{node.name} {show_size(node.memory)}" for node in by_size], limit=6)


def _rounded(size: int) -> str:
    return f"{size / GIB:.1f}GiB" if size >= GIB else f"{size // MIB}MiB"
