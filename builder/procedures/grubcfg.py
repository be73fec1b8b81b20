"""Reading a grub.cfg: the entry that is booted by itself, and a copy of it that starts another hypervisor."""

from __future__ import annotations

import re
from collections.abc import Iterator

from builder.model.host import Host

_DEFAULT = re.compile(r'^ *set default="([^"$]*)"$', re.MULTILINE)
_HYPERVISOR = re.compile(r"^(\s*multiboot2?\s+)(\S*/)?(xen[^\s/]*)", re.MULTILINE)


def default_of(config: str) -> str:
    """What GRUB boots by itself: a title, an id or a number. Empty when the file does not say."""
    found = _DEFAULT.findall(config)
    return found[-1] if found else ""


def boot_environment(host: Host, prefix: str) -> dict[str, str]:
    """GRUB's own variables, which outlive a start. `prefix` of its programs: grub, or grub2."""
    said = host.run([f"{prefix}-editenv", "-", "list"])
    return dict(line.partition("=")[::2] for line in said.stdout.splitlines())


def entry_of(config: str, wanted: str) -> str:
    """The text of the entry with this title, id or number, from `menuentry` to its closing brace. Empty when it is none
    at the top of the menu."""
    entries = [*_entries(config)]
    if wanted.isdigit():
        return entries[int(wanted)][1] if int(wanted) < len(entries) else ""
    return next((text for names, text in entries if wanted in names), "")


def hypervisor_of(entry: str) -> str:
    """The file name of the hypervisor that the entry starts; empty for one that starts none."""
    found = _HYPERVISOR.search(entry)
    return found[3] if found else ""


def with_hypervisor(entry: str, name: str, *, title: str, entry_id: str) -> str:
    """A copy of the entry that starts another file of the same folder, under a title and an id of its own."""
    body = _HYPERVISOR.sub(lambda found: f"{found[1]}{found[2] or ''}{name}", entry, count=1)
    _, _, rest = body.partition("\n")
    return f"menuentry '{title}' --class xen --id '{entry_id}' {{\n{rest}\n"


def menu_script(entry: str) -> str:
    """A script for /etc/grub.d that puts this entry on the menu as it stands."""
    return f'#!/bin/sh\nexec tail -n +3 "$0"\n{entry}'


def _entries(config: str) -> Iterator[tuple[tuple[str, ...], str]]:
    """(title and id, text) of the entries at the top of the menu, submenus as entries that start nothing."""
    depth = 0
    names: tuple[str, ...] = ()
    lines: list[str] = []
    for line in config.splitlines():
        if depth == 0 and re.match(r"(menuentry|submenu)\s", line):
            names = tuple(re.findall(r"'([^']*)'", line))
            lines, depth = [line], 1
        elif depth:
            lines.append(line)
            depth += line.rstrip().endswith("{") - (line.strip() == "}")
            if depth == 0:
                yield names, "" if lines[0].startswith("submenu") else "\n".join(lines)
