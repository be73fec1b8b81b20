"""Network lines: addresses that are whole, cards that are there, and each below one device only."""

from __future__ import annotations

import ipaddress

from builder.systems.rhel.judge.reading import Command, Script
from builder.systems.rhel.judge.report import Report
from builder.systems.target import Target

_BY_RULE = ("link", "bootif", "ibft")


def judge_network(script: Script, report: Report, target: Target | None) -> None:
    commands = script.all("network")
    if not any(command.text("hostname") for command in commands):
        report.add("NLK085", 0, "no line gives the host its name", "add: network --hostname=...")
    made: set[str] = set()
    owner: dict[str, str] = {}
    for command in commands:
        _address(command, report)
        vlan = command.text("vlanid")
        if vlan and not (vlan.isdecimal() and 1 <= int(vlan) <= 4094):
            report.add("NLK084", command.line, f"{vlan} is no VLAN", "1 to 4094")
        device = command.text("device")
        members = (*command.list("bondslaves"), *command.list("bridgeslaves"))
        for member in members:
            if ":" in member:
                report.add(
                    "NLK086", command.line, f"{device} stands on a card by its hardware address", "name it: eth1"
                )
            if owner.setdefault(member, device) != device:
                report.add("NLK083", command.line, f"{member} is below {owner[member]} and below {device}",
                           "give it to one of them")  # fmt: skip
        if target is not None:
            for name in members or ((device,) if device not in made else ()):
                _card(name, command, made, report, target)
        if members:
            made.add(device)


def _card(name: str, command: Command, made: set[str], report: Report, target: Target) -> None:
    known = {card.device for card in target.cards} | {card.mac for card in target.cards} | made
    if name and name.lower() not in known and name not in _BY_RULE:
        report.add("NLK080", command.line, f"the machine has no card {name}",
                   f"its cards: {', '.join(f'{card.device} {card.mac}' for card in target.cards)}")  # fmt: skip


def _address(command: Command, report: Report) -> None:
    if command.text("bootproto") != "static":
        return
    ip, mask, gateway = (command.text(option) for option in ("ip", "netmask", "gateway"))
    if not ip or not mask:
        report.add("NLK081", command.line, "a static address needs --ip and --netmask", "add what is missing")
        return
    try:
        network = ipaddress.ip_interface(f"{ip}/{mask}").network
        inside = not gateway or ipaddress.ip_address(gateway) in network
    except ValueError as error:
        report.add("NLK081", command.line, str(error), "write IPv4 addresses")
        return
    if not inside:
        report.add("NLK082", command.line, f"{gateway} is not in {network}", "a gateway is a neighbour")
