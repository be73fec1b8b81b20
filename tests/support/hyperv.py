"""Judges of PowerShell: a real grammar (tree-sitter's), and the cmdlets of the Hyper-V module as they are documented.

The tables are Microsoft's own (see `hyperv_cmdlets.json`): of each cmdlet its parameter sets, of which a call has to
fit one. What values parameters take is not looked at.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tree_sitter_powershell
from tree_sitter import Language, Node, Parser

_TABLE: dict[str, Any] = json.loads((Path(__file__).parent / "hyperv_cmdlets.json").read_text("utf-8"))["cmdlets"]
_MARK = b"\xef\xbb\xbf"
# about_CommonParameters
_COMMON = {"Verbose", "Debug", "ErrorAction", "ErrorVariable", "WarningAction", "OutVariable", "OutBuffer"}
# Commands of PowerShell itself that the scripts use.
_SHELL = {
    "Get-CimInstance", "Join-Path", "New-Item", "Out-Null", "Remove-Item", "Select-Object", "Set-StrictMode",
    "Test-Path", "Where-Object",
}  # fmt: skip


def parsed(text: str) -> list[Node]:
    """Every node of a script."""
    parser = Parser(Language(tree_sitter_powershell.language()))
    return list(_walk(parser.parse(text.encode().removeprefix(_MARK)).root_node))


def _walk(node: Node) -> Iterator[Node]:
    yield node
    for child in node.children:
        yield from _walk(child)


def wrong(text: str) -> list[str]:
    """Where a script is none."""
    return [str(node.start_point) for node in parsed(text) if node.type == "ERROR" or node.is_missing]


def problems(text: str) -> list[str]:
    """What Hyper-V's module would have against the calls of a script, whose own functions are called ...-Lab...."""
    return [found for node in parsed(text) if node.type == "command" for found in _call(node)]


def _call(command: Node) -> list[str]:
    name = next((_text(each) for each in command.children if each.type == "command_name"), "")
    if not name or "-Lab" in name or name in _SHELL:  # `. FILE` has no name
        return []
    if name not in _TABLE:
        return [f"{name}: no such cmdlet"]
    aliases = _TABLE[name]["aliases"]
    given = {aliases.get(each, each) for each in _parameters(command)} - _COMMON
    fits = [given - set(each) for each in _TABLE[name]["sets"]]
    if any(not over for over in fits):
        return []
    over = min(fits, key=len)
    return [f"{name}: no set of parameters has {', '.join(sorted(over))} beside {', '.join(sorted(given - over))}"]


def _parameters(command: Node) -> list[str]:
    return [
        _text(each).removeprefix("-")
        for part in command.children
        if part.type == "command_elements"
        for each in part.children
        if each.type == "command_parameter"
    ]


def _text(node: Node) -> str:
    return (node.text or b"").decode()
