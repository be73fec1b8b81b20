"""Whose installer a medium carries, told from the files that its makers put there, never from the file's name."""

from __future__ import annotations

import configparser
import re
from dataclasses import dataclass
from typing import Literal

from builder.media.medium import Medium

Family = Literal["xcpng", "rhel", "debian", "suse", "netbsd", "unknown"]
_SMALL = 1 << 16
# What configparser makes of a line takes it the square of the blanks in a row.
_BLANKS = re.compile(r"[^\S\n]+")
_NETBSD = re.compile(r"NetBSD(?:/\w+)? ([0-9]+(?:\.[0-9]+)*)")
_DISK_INFO = re.compile(r"^(\S.*?) ([0-9][0-9.]*|testing|unstable)(?:\s|$)")


@dataclass(frozen=True, slots=True)
class Installer:
    """`family` as the lab file names systems; `name` and `release` as the medium does; `told_by` is the file."""

    family: Family
    name: str = ""
    release: str = ""
    told_by: str = ""


def recognise(medium: Medium) -> Installer:
    """The installer on a medium; family `unknown` for all others."""
    for test in (_treeinfo, _discinfo, _debian, _suse, _netbsd, _bare_xcpng):
        found = test(medium)
        if found is not None:
            return found
    return Installer("unknown")


def _text(medium: Medium, path: str) -> str:
    size = medium.size(path)
    if size is None or size > _SMALL:
        return ""
    return (medium.small(path) or b"").decode("utf-8", "replace")


def _treeinfo(medium: Medium) -> Installer | None:
    for path in ("/.treeinfo", "/treeinfo"):
        text = _text(medium, path)
        parser = configparser.RawConfigParser(strict=False)
        try:
            parser.read_string(_BLANKS.sub(" ", text))
        except configparser.Error:
            continue

        def get(section: str, key: str, parser: configparser.RawConfigParser = parser) -> str:
            return parser.get(section, key, fallback="")

        platform = get("platform", "name") or get("system-v1", "platform_name")
        if platform in ("XCP", "XenServer") or parser.has_section("platform") or parser.has_section("system-v1"):
            name = get("branding", "name") or get("system-v1", "product_name") or "XCP-ng"
            release = get("branding", "version") or get("system-v1", "product_version") or get("platform", "version")
            return Installer("xcpng", name, release, path)
        name = get("release", "name") or get("general", "family")
        release = get("release", "version") or get("general", "version")
        if name:
            suse = "suse" in name.lower() or name.startswith("SLE")
            return Installer("suse" if suse else "rhel", name, release, path)
    return None


def _discinfo(medium: Medium) -> Installer | None:
    lines = _text(medium, "/.discinfo").splitlines()
    if len(lines) < 3:
        return None
    title = lines[1].strip()
    name, _, release = title.rpartition(" ")
    return Installer("rhel", name or title, release if name else title, "/.discinfo")


def _debian(medium: Medium) -> Installer | None:
    found = _DISK_INFO.match(_text(medium, "/.disk/info"))
    return Installer("debian", found[1], found[2], "/.disk/info") if found else None


def _suse(medium: Medium) -> Installer | None:
    found = re.search(r"^/ (\S+) ([0-9][0-9.]*)", _text(medium, "/media.1/products"), re.MULTILINE)
    if found:
        return Installer("suse", found[1], found[2], "/media.1/products")
    return None


def _netbsd(medium: Medium) -> Installer | None:
    if medium.find("/netbsd") is None and medium.find("/netbsd.gz") is None:
        return None
    found = _NETBSD.search(_text(medium, "/boot.cfg"))
    if found:
        return Installer("netbsd", "NetBSD", found[1], "/boot.cfg")
    volume = re.match(r"NETBSD[_-]?([0-9]+)_?([0-9]*)", medium.trees[0].volume_id)
    release = ".".join(part for part in volume.groups() if part) if volume else ""
    return Installer("netbsd", "NetBSD", release, "/netbsd")


def _bare_xcpng(medium: Medium) -> Installer | None:
    # The network installation media of XCP-ng have no .treeinfo.
    if medium.find("/install.img") is not None and medium.find("/boot/xen.gz") is not None:
        return Installer("xcpng", "", "", "/install.img")
    return None
