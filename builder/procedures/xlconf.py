"""Settings of /etc/xen/xl.conf, changed line by line: what is undone is one line, whatever else changed since.
And the PCI devices of a guest's configuration, which are a list of several lines."""

from __future__ import annotations

import re
from collections.abc import Sequence

from builder.procedures.api import Action, Remove, Write

PATH = "/etc/xen/xl.conf"
_PCI = re.compile(r"^[ \t]*pci[ \t]*=[ \t]*\[((?:#[^\n]*|[^]#])*)\][ \t]*(?:#[^\n]*)?$\n?", re.MULTILINE)


def line_of(text: str, key: str) -> str | None:
    """The line that sets a key, as it stands; the last one counts. None when it is not set."""
    found = _assignments(key).findall(text)
    return found[-1] if found else None


def value_of(line: str | None) -> str | None:
    """What a line sets its key to, without quotes."""
    if line is None:
        return None
    return line.partition("=")[2].partition("#")[0].strip().strip("\"'")


def setting(text: str, key: str) -> str | None:
    """What the text sets a key to; None when it does not."""
    return value_of(line_of(text, key))


def with_line(text: str, key: str, line: str | None) -> str:
    """The text with one line for the key: in the place of the last that was there, or at the end. None: without."""
    kept: list[str] = []
    at = None
    for each in text.splitlines():
        if _assignments(key).fullmatch(each):
            at = len(kept)
            continue
        kept.append(each)
    if line is not None:
        kept.insert(len(kept) if at is None else at, line)
    return "".join(f"{each}\n" for each in kept)


def change(text: str | None, wanted: str) -> tuple[Action, ...]:
    """What makes the file hold this text; a file that would be empty goes away."""
    if (text or "") == wanted:
        return ()
    return (Write(PATH, wanted),) if wanted else (Remove(PATH),)


def _assignments(key: str) -> re.Pattern[str]:
    return re.compile(rf"^[ \t]*{re.escape(key)}[ \t]*=.*$", re.MULTILINE)


def pci_items(text: str) -> tuple[str, ...]:
    """The items of `pci = [ ... ]` as they stand, without quotes; the last assignment counts. One in a comment is
    none."""
    found = _PCI.findall(text)
    return tuple(re.findall(r"[\"']([^\"']+)[\"']", re.sub("#.*", "", found[-1]))) if found else ()


def with_pci_items(text: str, items: Sequence[str]) -> str:
    """The text with these devices and no other assignment of them."""
    kept = _PCI.sub("", text)
    words = ", ".join(f'"{item}"' for item in items)
    line = f"pci = [ {words} ]\n" if items else ""
    return kept + ("" if not kept or kept.endswith("\n") or not line else "\n") + line
