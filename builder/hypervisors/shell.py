"""Shell scripts of an export: a library that is the same for every lab, and calls with this lab's values, quoted."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from pathlib import Path

from builder.errors import LabError
from builder.model.plan import File

_SCRIPTS = Path(__file__).parent / "scripts"
_HERE = 'here=$(CDPATH=\'\' cd -- "$(dirname -- "$0")" && pwd)'


def library(*names: str) -> str:
    """Texts of `scripts/`, one after the other, without the line that tells shellcheck what a part of a script is."""
    texts = ((_SCRIPTS / name).read_text("utf-8") for name in names)
    return "\n".join(text.removeprefix("# shellcheck shell=sh\n") for text in texts)


def call(*words: object) -> str:
    """One command line with each word quoted. Raises LabError for a word with a line break or another control
    character: no file name of ours has one, and a reader would not see what the script does."""
    texts = [str(word) for word in words]
    for text in texts:
        if not text.isprintable():
            raise LabError(
                f"{text!r} cannot stand in a script: it holds a line break or another control character",
                hint="leave that character out",
            )
    return shlex.join(texts)


def here(path: str) -> str:
    """A file beside the script, as a word: only for names made of a node's own."""
    return f'"$here/{path}"'


def script(name: str, about: str, lines: Iterable[str], *, libraries: tuple[str, ...] = ("lib.sh",)) -> File:
    """An exported script. It can be run again: the libraries look before they change anything."""
    sources = [f'. "$here/{library_name}"' for library_name in libraries]
    head = ["#!/bin/sh", *(f"# {line}" for line in about.splitlines()), "set -eu", _HERE]
    return File(path=name, content="\n".join([*head, *sources, *lines]) + "\n", mode=0o755)


def lib(*names: str, path: str = "lib.sh") -> File:
    """The library file of an export."""
    return File(path=path, content="#!/bin/sh\n# Read by the scripts beside it.\n" + library("common.sh", *names))
