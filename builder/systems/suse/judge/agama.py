"""Agama profiles: what the schema refuses, and what it lets through although the host would not come up as asked."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from builder.model.plan import Finding
from builder.systems.suse.judge.agama_storage import judge_storage
from builder.systems.suse.judge.report import Report
from builder.systems.suse.judge.xen import HYPERVISORS, judge_dom0_memory
from builder.systems.target import Target

PRODUCTS = {"16.0": ("Leap_16.0", "openSUSE_Leap"), "sles16": ("SLES",)}
"""By the releases' products.d: 16.0 has Leap_16.0, and later ones call it openSUSE_Leap."""
# The schema of the branch SLE-16; what came later is refused by a medium of 16.0.
_KEYS: Mapping[str, frozenset[str]] = {
    "": frozenset((
        "files", "scripts", "bootloader", "dasd", "zfcp", "hostname", "security", "software", "questions", "product",
        "network", "user", "root", "localization", "storage", "legacyAutoyastStorage", "iscsi",
    )),
    "bootloader": frozenset(("stopOnBootMenu", "timeout", "extraKernelParams", "updateNvram")),
    "root": frozenset(("password", "hashedPassword", "sshPublicKey")),
    "user": frozenset(("fullName", "userName", "password", "hashedPassword")),
    "product": frozenset(("id", "registrationCode", "registrationEmail", "registrationUrl", "addons")),
    "scripts": frozenset(("pre", "postPartitioning", "post", "init")),
    "storage": frozenset(("boot", "drives", "volumeGroups", "mdRaids")),
}  # fmt: skip
_HASH = re.compile(r"\$[0-9a-z]+\$\S+|[*!]+")


def judge_agama(text: str, release: str, target: Target | None = None) -> tuple[Finding, ...]:
    """Everything that is wrong with a profile for that release, in the order of its sections; always the warning that
    nobody promises the whole. With a target, its disks and cards are held against it as well."""
    report = Report(release, "autoinst.json")
    report.add("NLS115", "", "a Xen host by Agama is an experiment", "release: 15.6 or sles15 are YaST's")
    try:
        profile = json.loads(text)
    except ValueError as error:
        report.add("NLS100", "", f"this is no JSON: {error}", "mend it at that place")
        return report.in_order()
    if not isinstance(profile, dict):
        report.add("NLS100", "", "a profile is a mapping", "write { ... }")
        return report.in_order()
    for section, known in _KEYS.items():
        part = profile if not section else profile.get(section, {})
        for key in part if isinstance(part, dict) else ():
            if key not in known:
                place = f"{section}.{key}".lstrip(".")
                report.add("NLS101", place, f"release 16.0 has no {place}", f"keys: {', '.join(sorted(known))}")
    _product(profile, report)
    _asked(profile, report)
    _accounts(profile, report)
    _scripts(profile, report)
    _network(profile, report, target)
    judge_storage(profile.get("storage"), report, target)
    return report.in_order()


def _map(value: Any, *names: str) -> Mapping[str, Any]:
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def _list(value: Any, *names: str) -> list[Any]:
    found = _map(value, *names[:-1]).get(names[-1])
    return found if isinstance(found, list) else []


def _product(profile: Mapping[str, Any], report: Report) -> None:
    product = _map(profile, "product").get("id")
    known = PRODUCTS.get(report.release, ())
    if product not in known[:1]:
        later = " (its name in later releases)" if product in known else ""
        report.add("NLS102", "product.id", f"the medium has no product {product}{later}", f"write {known[0]}")


def _asked(profile: Mapping[str, Any], report: Report) -> None:
    if _map(profile, "questions").get("policy") != "auto":
        report.add("NLS112", "questions.policy", "Agama asks, and waits for an answer", 'write "policy": "auto"')
    loader = _map(profile, "bootloader")
    if loader.get("stopOnBootMenu") is True:
        report.add("NLS116", "bootloader.stopOnBootMenu", "the host waits in its boot menu", 'write "timeout": 3')
    for word in str(loader.get("extraKernelParams", "")).split():
        if HYPERVISORS.fullmatch(word.partition("=")[0]):
            report.add("NLS111", "bootloader.extraKernelParams", f"{word} would be given to Linux, not to Xen",
                       "GRUB_CMDLINE_XEN_DEFAULT in /etc/default/grub, by a script")  # fmt: skip


def _accounts(profile: Mapping[str, Any], report: Report) -> None:
    someone = False
    for section in ("root", "user"):
        account = _map(profile, section)
        password = account.get("password")
        if password is not None and (account.get("hashedPassword") is not True or not _HASH.fullmatch(str(password))):
            report.add("NLS107", f"{section}.password", "the password is taken for one in clear",
                       'write a crypt hash and "hashedPassword": true')  # fmt: skip
        someone |= bool(str(password or "").strip("*!")) or bool(account.get("sshPublicKey"))
    by_script = any("authorized_keys" in str(script.get("content", "")) for _, script in _all_scripts(profile))
    if not someone and not by_script:
        report.add("NLS108", "root", "nobody has a password or a key",
                   "give root a password or sshPublicKey, or write them by a script")  # fmt: skip


def _scripts(profile: Mapping[str, Any], report: Report) -> None:
    makes_menu = False
    for place, script in _all_scripts(profile):
        sources = [key for key in ("content", "body", "url") if key in script]
        content = str(script.get("content", script.get("body", "")))
        if len(sources) != 1 or not script.get("name"):
            report.add("NLS109", place, "a script has a name and one of content and url", "write both")
        elif "url" not in script and not content.startswith("#!"):
            report.add("NLS109", place, "the script's first line does not say what runs it", "begin it with #!/bin/sh")
        inside = place.startswith("scripts.post[") and script.get("chroot", True) is True
        judge_dom0_memory(content, report, place)
        makes_menu |= inside and "GRUB_CMDLINE_XEN_DEFAULT" in content and "grub2-mkconfig" in content
    if not makes_menu:
        report.add("NLS110", "scripts.post", "Xen is given no arguments: Agama has no word for them",
                   "a script in the new system that sets GRUB_CMDLINE_XEN_DEFAULT and runs grub2-mkconfig")  # fmt: skip


def _all_scripts(profile: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for stage in ("pre", "postPartitioning", "post", "init"):
        for number, script in enumerate(_list(profile, "scripts", stage)):
            yield f"scripts.{stage}[{number}]", _map(script)


def _network(profile: Mapping[str, Any], report: Report, target: Target | None) -> None:
    connections = [_map(each) for each in _list(profile, "network", "connections")]
    names = {str(each.get(key)) for each in connections for key in ("id", "interface") if each.get(key)}
    owner: dict[str, str] = {}
    for number, each in enumerate(connections):
        place, own = f"network.connections[{number}]", str(each.get("interface") or each.get("id"))
        ports = [str(port) for kind in ("bridge", "bond") for port in _list(each, kind, "ports")]
        for port in ports:
            if port not in names:
                report.add("NLS114", place, f"{own} needs the port {port}, which has no connection",
                           f'add {{"id": "{port}", "method4": "disabled", ...}}')  # fmt: skip
            if owner.setdefault(port, own) != own:
                report.add("NLS083", place, f"{port} is below {owner[port]} and below {own}", "give it to one of them")
        parent = _map(each, "vlan").get("parent")
        if parent is not None and str(parent) not in names:
            report.add("NLS084", place, f"{own} stands on {parent}", "name a connection")
        made = ports or parent is not None or "bridge" in each or "bond" in each
        if target is not None and not made and own not in {card.device for card in target.cards}:
            report.add("NLS080", place, f"the machine has no card {own}",
                       f"its cards: {', '.join(card.device for card in target.cards)}")  # fmt: skip
