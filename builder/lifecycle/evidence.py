"""The files that tell how a lab fared, as its keeper writes them, and without what they hold that is nobody else's.

Left out of a keeper's folder are its ssh keys, the disks, the remastered medium and the volume with the answers. What
is copied may hold secrets all the same: a plan has the answers and scripts of its hosts, a console shows what is typed
and printed there. Pictures of screens are copied as they are.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from collections.abc import Iterable, Iterator
from os import PathLike
from pathlib import Path
from typing import Any

from builder.drivers.hooks import ARGUMENT
from builder.secrets import MASK, redact

_FILES = ("*.json", "*.jsonl", "*.xml", "keeper.log")
_NODE_FILES = ("console.log", "domain.xml", "screen.png", "screen.ppm", "installer.log")
_PICTURES = (".png", ".ppm")

# Of a plan and a lab file: `content` is of files, answers and scripts, where everything may stand; the code of a
# registration stands there in clear.
_HIDDEN = re.compile(r".*\.(?:content|(?:\w+_)?password)|registration\.code")

# sshpassword=x of a command line, passwd='x' of a domain, vncpasswd = "x" of the xenstore, chappassword: x of xapi
_NAMED = r"((?:passw(?:or)?d|passphrase|secret|token|regcode)[\w-]{0,20}[\"']?[ \t]*[=:][ \t]*)"
_MASKED = (
    (re.compile(r"\$(?:sha1|argon2(?:id|i|d)|7|gy)\$[./+0-9A-Za-z$=,]+"), MASK),  # crypt(5) of NetBSD and others
    (re.compile(rf"({re.escape(ARGUMENT)}=https?://[^/\s]+/)[0-9a-f]{{32}}"), rf"\1{MASK}"),
    (re.compile(rf"{_NAMED}([\"'])(?:(?!\2).)*\2", re.IGNORECASE), rf"\1\2{MASK}\2"),
    (re.compile(rf"{_NAMED}[^\s\"',;&<>]+", re.IGNORECASE), rf"\1{MASK}"),
)
_KEY_BEGINS, _KEY_ENDS = (re.compile(rf"-----{word} [A-Z ]*PRIVATE KEY-----") for word in ("BEGIN", "END"))
_KEY_LINES = 120
"""A key has fewer; where its end is missing, what comes after it is not lost."""


def copy_evidence(lab: Path, to: Path) -> None:
    """Copy what a keeper wrote of its lab, as far as it is there and there is room."""
    for pattern in (*_FILES, *(f"nodes/*/{name}" for name in _NODE_FILES)):
        for file in lab.glob(pattern):
            target = to / file.relative_to(lab)
            with contextlib.suppress(OSError):
                target.parent.mkdir(parents=True, exist_ok=True)
                copy_blanked(file, target)


def copy_blanked(file: str | PathLike[str], to: str | PathLike[str]) -> None:
    """Copy a file of evidence with its secrets blanked: of JSON by what they are, of other texts by how they look."""
    source, target = Path(file), Path(to)
    if source.suffix in _PICTURES:
        shutil.copyfile(source, target)
        return
    with source.open(encoding="utf-8", errors="surrogateescape", newline="") as lines:
        if source.suffix == ".json":
            told: Iterable[str] = [_document(lines.read(), indent=1)]
        elif source.suffix == ".jsonl":
            told = (_document(line) for line in lines)
        else:
            told = _lines(lines)
        with target.open("w", encoding="utf-8", errors="surrogateescape", newline="") as out:
            out.writelines(told)


def blanked(text: str) -> str:
    """What a host or a console said, with the secrets in it blanked."""
    return "".join(_lines(text.splitlines(keepends=True)))


def _document(text: str, *, indent: int | None = None) -> str:
    """JSON stays JSON; what is none any more, cut short by a full disk, is a text."""
    try:
        value = json.loads(text)
    except ValueError:
        return blanked(text)
    apart = (",", ":") if indent is None else None
    return json.dumps(_value(value), indent=indent, separators=apart, ensure_ascii=False) + "\n"


def _value(value: Any, under: str = "") -> Any:
    """`under` is the key that it stands under."""
    if isinstance(value, dict):
        return {
            key: _hidden(inner) if _HIDDEN.fullmatch(f"{under}.{key}") else _value(inner, key)
            for key, inner in value.items()
        }
    if isinstance(value, list):
        return [_value(inner, under) for inner in value]
    return blanked(value) if isinstance(value, str) else value


def _hidden(value: Any) -> Any:
    """Nothing hidden is nothing; of a text its length is told."""
    if isinstance(value, str):
        return f"{MASK} ({len(value)} characters)" if value else value
    return _value(value)


def _lines(lines: Iterable[str]) -> Iterator[str]:
    """Line by line: a console may be as long as a guest has time. Of a private key only that it was there."""
    left = 0
    for line in lines:
        if left:
            left = 0 if _KEY_ENDS.search(line) else left - 1
            continue
        begins = _KEY_BEGINS.search(line)
        if begins is not None and not _KEY_ENDS.search(line, begins.end()):
            left = _KEY_LINES
        yield _line(line)


def _line(line: str) -> str:
    said = line.rstrip("\r\n")
    told = redact(said)
    for pattern, instead in _MASKED:
        told = pattern.sub(instead, told)
    return told + line[len(said) :]
