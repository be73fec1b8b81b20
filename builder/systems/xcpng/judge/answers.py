"""A finished answer file against the grammar, and what its values mean together."""

from __future__ import annotations

import ipaddress
import re
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Mapping

from builder.model.plan import Finding
from builder.systems.target import Target
from builder.systems.xcpng.judge.disks import judge_disks, judge_taken_over
from builder.systems.xcpng.judge.grammar import ELEMENTS, ELSEWHERE, FRESH, RESTORE, ROOT, UPGRADE, Attribute
from builder.systems.xcpng.judge.report import Report

_WORDS = ("yes", "true", "no", "false")
_STAGES = ("installation-start", "filesystem-populated", "installation-complete")
_SCHEMES = {"url": ("http://", "https://", "ftp://", "file://"), "nfs": ()}
_NFS = re.compile(r"[A-Za-z0-9._-]+:/\S*|\[[0-9A-Fa-f:]+\]:/\S*")
_HASH = re.compile(r"\$[0-9a-z]+\$\S+|\*")


def judge_answers(text: str, release: str, target: Target | None = None) -> tuple[Finding, ...]:
    """Everything that is wrong with an answer file for that release ("8.2", "8.3", "xs8"). With a target, its disks
    and cards are held against it as well."""
    report = Report(release, "answerfile.xml")
    try:
        root = ET.fromstring(text)  # noqa: S314 - our own text, or a user's template; no entities are expanded from it
    except ET.ParseError as error:
        report.add("NLX001", "", f"this is no XML: {error}", "close every element; write & as &amp;")
        return tuple(report.found)
    mode = _mode(root, report)
    if mode is None:
        return tuple(report.found)
    _attributes(root, ROOT if mode != RESTORE else {}, report)
    _elements(root, mode, report)
    _sources(root, report)
    _storage_cards(root, report)
    if mode == FRESH:
        judge_disks(root, report, target)
        _interface(root, report, target)
        _host(root, report)
    else:
        judge_taken_over(root, report, target)
    _scripts(root, report)
    return tuple(report.found)


def _mode(root: ET.Element, report: Report) -> str | None:
    if root.tag == "restore":
        return RESTORE
    mode = root.get("mode", "fresh")
    if root.tag != "installation" or mode not in ("fresh", "reinstall", "upgrade"):
        what = f"<{root.tag}>" if root.tag != "installation" else f"mode {mode}"
        report.add("NLX002", f"<{root.tag}>", f"{what} is no way to install", 'write <installation mode="fresh">')
        return None
    if mode == "reinstall":
        report.add("NLX062", "<installation>", "mode reinstall makes no backup", "write fresh, or upgrade")
    return UPGRADE if mode == "upgrade" else FRESH


def _elements(root: ET.Element, mode: str, report: Report) -> None:
    parents = {child: parent for parent in root.iter() for child in parent}
    seen: Counter[str] = Counter()
    for element in root.iter():
        if element is root:
            continue
        tag = f"<{element.tag}>"
        rule = ELEMENTS.get(element.tag)
        if rule is None:
            code = "NLX005" if element.tag in ELSEWHERE else "NLX003"
            report.add(code, tag, f"{tag} would be passed over", f"elements: {', '.join(ELEMENTS)}")
            continue
        if report.release not in rule.releases:
            report.add("NLX005", tag, f"{tag} is not of this release", f"it is of {', '.join(rule.releases)}")
            continue
        if mode not in rule.modes:
            report.add("NLX007", tag, f"{tag} is not read in mode {mode}", f"modes: {', '.join(rule.modes)}")
            continue
        parent = parents[element]
        wanted = rule.inside or root.tag
        if parent.tag != wanted:
            report.add("NLX009", tag, f"{tag} stands in <{parent.tag}>", f"put it into <{wanted}>")
        seen[rule.same_as or element.tag] += 1
        if seen[rule.same_as or element.tag] > 1 and not rule.many:
            report.add("NLX008", tag, f"{tag} is there more than once", "keep one")
        text = (element.text or "").strip()
        if rule.text is not None and rule.text != bool(text):
            said = "has no text" if rule.text else "has text, which nobody reads"
            report.add("NLX014", tag, f"{tag} {said}", "give it one" if rule.text else "remove it")
        _attributes(element, rule.attributes, report)
    for name, rule in ELEMENTS.items():
        if mode in rule.mandatory and not seen[name]:
            report.add("NLX010", "", f"<{name}> is missing", f"add <{name}>")


def _attributes(element: ET.Element, rules: Mapping[str, Attribute], report: Report) -> None:
    tag = f"<{element.tag}>"
    for name, value in element.attrib.items():
        rule = rules.get(name)
        if rule is None:
            report.add("NLX004", tag, f"{name} would be passed over", f"attributes: {', '.join(rules) or 'none'}")
        elif report.release not in rule.releases:
            report.add("NLX006", tag, f"{name} is not of this release", f"it is of {', '.join(rule.releases)}")
        elif rule.truth and value.lower() not in _WORDS:
            report.add("NLX011", tag, f"{name}={value!r} means no", "write true or false")
        elif rule.allowed(report.release) and value not in rule.allowed(report.release):
            report.add("NLX012", tag, f"{name} cannot be {value!r}", ", ".join(rule.allowed(report.release)))
    for name, rule in rules.items():
        if rule.required and name not in element.attrib and report.release in rule.releases:
            report.add("NLX013", tag, f"{name} is missing", f'add {name}="..."')


def _sources(root: ET.Element, report: Report) -> None:
    for element in (*root.iter("source"), *root.iter("driver-source")):
        text, kind = (element.text or "").strip(), element.get("type")
        good = {
            "local": not text,
            "url": text.startswith((*_SCHEMES["url"], "nfs://")) and " " not in text,
            "nfs": bool(_NFS.fullmatch(text)),
        }.get(str(kind), True)
        if not good:
            report.add("NLX020", f"<{element.tag}>", f"{text or 'nothing'} is no address of type {kind}",
                       "url: http://..., nfs: host:/path, local: nothing")  # fmt: skip


def _storage_cards(root: ET.Element, report: Report) -> None:
    for element in root.iter("fcoe-interface"):
        if not element.get("name") and not element.get("hwaddr"):
            report.add("NLX013", "<fcoe-interface>", "no card is named", 'add name="..." or hwaddr="..."')


def _interface(root: ET.Element, report: Report, target: Target | None) -> None:
    element = next(root.iter("admin-interface"), None)
    if element is None:
        return
    tag = "<admin-interface>"
    name, mac = element.get("name"), element.get("hwaddr")
    if target is not None:
        known = {card.device for card in target.cards} | {card.mac for card in target.cards}
        if not (name in known or (mac or "").lower() in known):
            report.add(
                "NLX040", tag, f"the machine has no card {name or mac}", f"its cards: {', '.join(sorted(known))}"
            )
    elif not name and not mac:
        report.add("NLX040", tag, "no card is named", "name= or hwaddr=")
    vlan = element.get("vlan")
    if vlan is not None and not (vlan.isdecimal() and 1 <= int(vlan) <= 4094):
        report.add("NLX044", tag, f"{vlan} is no VLAN", "1 to 4094")
    if element.get("proto") == "none" and element.get("protov6") is None:
        report.add("NLX045", tag, "the host would have no address at all", 'proto="dhcp"')
    if element.get("proto") == "static":
        _static(element, report, ("ip", "ipaddr"), ("subnet-mask", "subnet"), "gateway")
    if element.get("protov6") == "static":
        _static(element, report, ("ipv6",), (), "gatewayv6")


def _static(
    element: ET.Element, report: Report, addresses: tuple[str, ...], masks: tuple[str, ...], gateway: str
) -> None:
    tag = "<admin-interface>"

    def text(*names: str) -> str | None:
        found = [child for name in names for child in element.iter(name)]
        return (found[0].text or "").strip() if found else None

    ip, mask, way = text(*addresses), text(*masks) if masks else "", text(gateway)
    if ip is None or mask is None or way is None:
        wanted = ", ".join(name for name in (addresses[-1], *masks[-1:], gateway))
        report.add("NLX041", tag, f"a static address needs {wanted}", "an empty gateway stands for none")
        return
    try:
        interface = ipaddress.ip_interface(f"{ip}/{mask}" if masks else ip)
        inside = not way or ipaddress.ip_address(way) in interface.network
    except ValueError as error:
        report.add("NLX042", tag, str(error), "write 192.0.2.5, 255.255.255.0")
        return
    if not inside and not ipaddress.ip_address(way).is_link_local:
        report.add("NLX043", tag, f"{way} is not in {interface.network}", "a gateway is a neighbour")


def _host(root: ET.Element, report: Report) -> None:
    password = next(root.iter("root-password"), None)
    text = (password.text or "").strip() if password is not None else ""
    if password is None or text.startswith("!"):
        report.add("NLX050", "<root-password>", "the first boot would ask for a root password", "give a crypt hash")
    elif password.get("type") != "hash":
        report.add("NLX051", "<root-password>", "the root password stands in clear", 'type="hash" and a crypt hash')
    elif text and not _HASH.fullmatch(text):
        report.add("NLX050", "<root-password>", "this is no crypt hash", "make one with `openssl passwd -6`")
    if next(root.iter("hostname"), None) is None:
        report.add("NLX052", "", "the host gets no name", "add <hostname>")
    for element in (*root.iter("name-server"), *root.iter("nameserver")):
        try:
            ipaddress.ip_address((element.text or "").strip())
        except ValueError as error:
            report.add("NLX042", f"<{element.tag}>", str(error), "write 192.0.2.53")
    _time(root, report)
    names = Counter(element.get("name", "") for element in root.iter("service"))
    for name, count in names.items():
        if count > 1:
            report.add("NLX057", "<service>", f"the service {name} is named {count} times", "name it once")
    for element in root.iter("network-backend"):
        if (element.text or "").strip() not in ("bridge", "openvswitch", "vswitch"):
            report.add("NLX056", "<network-backend>", f"{element.text!r} would be passed over", "openvswitch or bridge")
    for element in root.iter("bootloader"):
        if (element.text or "").strip() not in ("", "grub2"):
            report.add("NLX061", "<bootloader>", f"there is no boot loader {element.text!r}", "leave it out")


def _time(root: ET.Element, report: Report) -> None:
    servers = [*root.iter("ntp-server"), *root.iter("ntp-servers")]
    for element in root.iter("ntp"):
        source = element.get("source")
        if source == "none":
            report.add("NLX053", "<ntp>", "the source none makes the installer fail", "dhcp, default or manual")
        elif source in ("dhcp", "default") and servers:
            report.add("NLX054", "<ntp>", f"servers and the source {source} exclude each other", 'source="manual"')
        elif source == "manual" and not servers:
            report.add("NLX055", "<ntp>", "the source manual names no server", "add <ntp-server>")


def _scripts(root: ET.Element, report: Report) -> None:
    for element in root.iter("script"):
        stage = element.get("stage", "")
        if stage and stage.lower() not in _STAGES:
            report.add("NLX058", "<script>", f"no script of stage {stage} is ever run", ", ".join(_STAGES))
        text, kind = (element.text or "").strip(), element.get("type", "")
        good = _NFS.fullmatch(text.removeprefix("nfs://").replace("/", ":/", 1)) if kind == "nfs" else None
        if kind == "url" and not text.startswith((*_SCHEMES["url"], "nfs://")):
            report.add(
                "NLX020", "<script>", f"{text or 'nothing'} is no address of a script", "file:///..., http://..."
            )
        elif kind == "nfs" and not good and not _NFS.fullmatch(text):
            report.add("NLX020", "<script>", f"{text or 'nothing'} is no NFS address", "nfs://host/path")
    for _ in root.iter("ui-confirmation-prompt"):
        report.add("NLX060", "<ui-confirmation-prompt>", "the installer would ask before it begins", "remove it")
