"""A medium's installer booted over the network: which of its files are fetched, and the menus that fetch them.

Kernel, initrd and arguments are those of the medium's own boot entry, after the edits. The folder is laid out so that
one tree serves PXELINUX (BIOS), GRUB (BIOS and UEFI) and iPXE, over TFTP and over HTTP. Sources: SYSLINUX wiki
"PXELINUX" (pxelinux.cfg/01-MAC) and "Mboot.c32"; GRUB's search for grub.cfg-01-MAC, as its requests show; ipxe.org/cmd,
where images of an initrd are named by `initrd=` for UEFI. Xen is left to the first two: iPXE cannot start it by UEFI.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from builder.media.boot import find_menus
from builder.media.edits import Arguments, Edit, Overlay
from builder.media.errors import MediaError
from builder.media.initrd import OverlayFile
from builder.media.medium import Medium, open_medium
from builder.media.menus import Entry
from builder.media.menus.common import resolve
from builder.media.menus.grub import quote
from builder.media.menus.isolinux import LINE_MAX
from builder.media.plan import GraftPlan, opened
from builder.media.recognise import Family, Installer, recognise

GRUB_FOLDER = "boot/grub"
# anaconda's ways to name a file on a volume or on the medium, and linuxrc's.
_ON_MEDIUM = re.compile(r"^([\w.]+=)(?:hd:LABEL=[^:]+:|cdrom:|cd:|(label:/)/[^/]+)(/\S+)$")
# What tells an installer where the rest of it is; on a network that is somewhere else.
_SOURCES: Mapping[Family, tuple[tuple[str, ...], str]] = {
    "rhel": (("inst.stage2=", "inst.repo=", "repo=", "method=", "stage2="), "inst.repo="),
    "suse": (("install=", "inst.install_url="), "install="),
}
_PLAIN = re.compile(r"[A-Za-z0-9._/-]+\Z")  # in a menu a blank ends a name, and some loaders read more into others
_MAC = re.compile(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}\Z")


@dataclass(frozen=True, slots=True)
class NetBoot:
    """`texts` are files to be written (path in the tree -> content), `taken` files of the medium (path in the tree ->
    path on it). `xen`: a hypervisor is started first."""

    texts: Mapping[str, str]
    taken: Mapping[str, str]
    xen: bool
    notes: tuple[str, ...]


def for_network(edits: Iterable[Edit], files: Mapping[str, bytes]) -> tuple[Edit, ...]:
    """The edits with answers in the initrd that would lie on a second volume (`files`, by path) or be read from the
    medium: over the network there is neither."""
    out: list[Edit] = []
    wanted = dict(files)
    overlay = Overlay(())
    for edit in edits:
        if isinstance(edit, Overlay):
            overlay = replace(edit, files=(*overlay.files, *edit.files))
        elif isinstance(edit, Arguments):
            out.append(replace(edit, kernel=tuple(_ON_MEDIUM.sub(_in_initrd, word) for word in edit.kernel)))
        else:
            content = getattr(edit, "content", None)
            path = "/" + edit.path.strip("/")
            named = any(isinstance(e, Arguments) and any(w.endswith(f"cdrom:{path}") for w in e.kernel) for e in edits)
            if named and isinstance(content, bytes):
                wanted[path] = content
            out.append(edit)
    inside = tuple(
        OverlayFile(path, content, 0o755, secret=True) for path, content in wanted.items() if path.count("/") == 1
    )
    if overlay.files or inside:
        out.append(replace(overlay, files=(*overlay.files, *inside)))
    return tuple(out)


def plan_netboot(plan: GraftPlan, name: str, *, macs: Sequence[str] = (), source: str = "") -> NetBoot:
    """The tree for one host. `name` is its folder's; with `macs` only machines with these cards get its menus, without
    any all. `source` is the URL below which the medium's files are, for installers that need it.

    Raises MediaError when the medium has no boot entry that can be used so, and for what is no MAC address.
    """
    with opened(plan) as image:
        medium = open_medium(image)
        installer = recognise(medium)
        entry, folder = _entry(medium)
        paths = {role: resolve(path, folder) for role, path in _roles(entry)}
        missing = [path for path in paths.values() if medium.size(path) is None]
        if missing:
            raise MediaError(f"the boot entry {entry.title!r} names {missing[0]}, which is not on the medium",
                             hint="the medium is damaged, or its menu is for another loader")  # fmt: skip
        notes = _notes(medium, installer, plan)
    entry = replace(entry, arguments=_arguments(entry, installer, source))
    for mac in macs:
        if not _MAC.match(mac):
            raise MediaError(f"{mac} is no MAC address", hint="write it like 52:54:00:12:34:56")
    places = {role: f"{name}/{path.rpartition('/')[2]}" for role, path in paths.items()}
    if len(set(places.values())) != len(places) or not all(_PLAIN.match(place) for place in places.values()):
        places = {role: f"{name}/{role}" for role in paths}
    # Both loaders look for their menu by the card's address themselves; a test for a file does not work over TFTP.
    cards = [f"01-{mac.replace(':', '-')}" for mac in macs]
    texts = {
        **{f"pxelinux.cfg/{card}": pxelinux(name, entry, places) for card in cards or ["default"]},
        **dict.fromkeys(_grub_menus(cards), grub(name, entry, places)),
        f"{name}.ipxe": ipxe(entry, places),
    }
    return NetBoot(texts, {places[role]: path for role, path in paths.items()}, bool(entry.hypervisor), notes)


def _grub_menus(cards: list[str]) -> list[str]:
    """Where GRUB looks: 2.12 for a card's menu beside its modules, 2.06 above them; for one for all both above."""
    folders = (GRUB_FOLDER, *(f"{GRUB_FOLDER}/{platform}" for platform in ("i386-pc", "x86_64-efi")))
    return [f"{folder}/grub.cfg-{card}" for folder in folders for card in cards] or [f"{GRUB_FOLDER}/grub.cfg"]


def _in_initrd(found: re.Match[str]) -> str:
    return f"{found[1]}file:{'//' if found[2] else ''}{found[3]}"


def _entry(medium: Medium) -> tuple[Entry, str]:
    """The first entry that starts an installer, and the folder its paths start from."""
    for menu in find_menus(medium):
        for entry in menu.entries:
            if entry.initrds and entry.kernel:
                return entry, menu.folder
    raise MediaError("no boot entry of the medium loads a kernel with an initrd", hint="it cannot boot from a network")


def _roles(entry: Entry) -> list[tuple[str, str]]:
    hypervisor = [("xen", entry.hypervisor)] if entry.hypervisor else []
    initrds = [(f"initrd{number or ''}", path) for number, path in enumerate(entry.initrds)]
    return [*hypervisor, ("kernel", entry.kernel), *initrds]


def _arguments(entry: Entry, installer: Installer, source: str) -> tuple[str, ...]:
    rule = _SOURCES.get(installer.family)
    if rule is None:
        return entry.arguments
    if not source:
        raise MediaError(
            f"{installer.name or installer.family} fetches the rest of itself, and needs to know from where",
            hint="`nestlab media serve` serves a medium's files; give --source http://HOST:8080/NAME.iso",
        )
    kept = [word for word in entry.arguments if not word.startswith(rule[0])]
    word = "repo=" if installer.family == "rhel" and re.match(r"6(?:\.|\Z)", installer.release) else rule[1]
    stop = kept.index("---") if "---" in kept else len(kept)
    return (*kept[:stop], f"{word}{source}", *kept[stop:])


def _notes(medium: Medium, installer: Installer, plan: GraftPlan) -> tuple[str, ...]:
    out = list(plan.notes)
    if installer.family == "debian" and medium.find("/dists") is not None:
        out.append("this medium's initrd looks for packages on a CD: Debian's netboot image is the one for a network")
    return tuple(out)


def reads_medium(edits: Iterable[Edit]) -> bool:
    """Whether an answer among the edits tells XCP-ng's installer to take its packages from the medium."""
    files = [file for edit in edits if isinstance(edit, Overlay) for file in edit.files]
    return any(b'<source type="local"' in file.content for file in files)


def _words(entry: Entry) -> str:
    return "".join(f" {word}" for word in entry.arguments)


def pxelinux(name: str, entry: Entry, places: Mapping[str, str]) -> str:
    """A configuration for PXELINUX. Raises MediaError when a line is longer than it reads."""
    initrds = [places[role] for role in places if role.startswith("initrd")]
    if entry.hypervisor:
        head = "".join(f" {word}" for word in entry.hypervisor_arguments)
        append = " --- ".join([f"{places['xen']}{head}", f"{places['kernel']}{_words(entry)}", *initrds])
        kernel = "mboot.c32"
    else:
        append = f"initrd={','.join(initrds)}{_words(entry)}"
        kernel = places["kernel"]
    if len(append) > LINE_MAX:
        raise MediaError(f"PXELINUX reads {LINE_MAX} characters of a line, this one has {len(append)}",
                         hint="use fewer or shorter arguments")  # fmt: skip
    return f"default {name}\nlabel {name}\n  kernel {kernel}\n  append {append}\n"


def grub(name: str, entry: Entry, places: Mapping[str, str]) -> str:
    """A menu for GRUB."""
    words = "".join(f" {quote(word)}" for word in entry.arguments)
    initrds = [f"/{places[role]}" for role in places if role.startswith("initrd")]
    if entry.hypervisor:
        head = "".join(f" {quote(word)}" for word in entry.hypervisor_arguments)
        lines = [f"multiboot2 /{places['xen']}{head}", f"module2 /{places['kernel']}{words}",
                 *(f"module2 {path}" for path in initrds)]  # fmt: skip
    else:
        lines = [f"linux /{places['kernel']}{words}", f"initrd {' '.join(initrds)}"]
    body = "".join(f"  {line}\n" for line in lines)
    return f"set timeout=5\nmenuentry {quote(name)} {{\n{body}}}\n"


def ipxe(entry: Entry, places: Mapping[str, str]) -> str:
    """A script for iPXE. Its paths start where it was fetched from."""
    if entry.hypervisor:
        return (
            "#!ipxe\n# iPXE cannot start Xen by UEFI: the other loaders of this tree can.\n"
            f"iseq ${{platform}} efi && chain {GRUB_FOLDER}/x86_64-efi/core.efi || chain pxelinux.0\n"
        )
    for word in entry.arguments:
        if "${" in word:
            raise MediaError(f"iPXE takes {word!r} for a setting of its own", hint="use another argument")
    initrds = [places[role] for role in places if role.startswith("initrd")]
    named = "".join(f" initrd={Path(path).name}" for path in initrds)
    lines = [f"kernel {places['kernel']}{named}{_words(entry)}", *(f"initrd {path}" for path in initrds), "boot"]
    return "#!ipxe\n" + "".join(f"{line}\n" for line in lines)
