"""The `install:` mapping of a node: what only the installer of its system understands.

Its keys are the system's own (`SystemTraits.install` gives their type), so that they are checked here as strictly as
all others, and in the same words. The node keeps the mapping in a form that survives JSON and that the type reads
again: files are read while the lab is loaded, since systems are pure and read nothing themselves.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Annotated, Any

from pydantic import BeforeValidator, ValidationError, ValidationInfo, WithJsonSchema

from builder.model.document import Path
from builder.model.explain import explain
from builder.model.lab import Value
from builder.model.plan import SystemTraits
from builder.model.report import Report
from builder.model.units import KIB, MIB, BadValue, parse_mib, parse_size
from builder.model.worded import Worded
from builder.model.words import describe, shorten, written

__all__ = ["KibSize", "LocalFile", "LocalText", "MibSize", "Worded", "in_kib", "in_mib", "read_install", "seen_from"]

MAX_FILE = MIB
_FOLDER = "folder"


def read_install(
    node: str, said: Mapping[str, Any], traits: SystemTraits, report: Report, *, folder: FilePath
) -> dict[str, Any]:
    """The node's installer settings, checked; files in them are taken from `folder`. What is wrong goes to the
    report, and the result is then empty."""
    base: Path = ("nodes", node, "install")
    if not said:
        return {}
    if traits.install is None:
        report.add(
            "lab-install",
            f"node {shorten(node)}: {traits.title} has no installer settings",
            "remove install: from this node",
            base,
            key=True,
        )
        return {}
    kind = traits.install()
    try:
        value = kind.model_validate(said, context={_FOLDER: folder})
    except ValidationError as error:
        explain(error, report, base=base, model=kind)
        return {}
    kept: dict[str, Any] = value.model_dump(mode="json", exclude_unset=True)
    return kept


class LocalText(Value):
    """A text file of the user's: where it was, and what was in it when the lab was loaded."""

    path: str
    content: str


def _local_text(value: Any, info: ValidationInfo) -> Any:
    """A path as it is written in a lab file becomes the file; what has been read before stays as it is."""
    folder = info.context.get(_FOLDER) if isinstance(info.context, dict) else None
    if folder is None and isinstance(value, Mapping | LocalText):
        return value
    hint = "write the path of a file, relative to the lab file"
    if not isinstance(value, str) or not value or folder is None:
        raise BadValue("lab-wrong-type", f"expected the path of a file, found {describe(value)}", hint)
    return {"path": value, "content": _read_text(seen_from(folder, value), value)}


def seen_from(folder: FilePath, said: str) -> FilePath:
    """The file that a lab file in this folder names. ~ and ~somebody are home folders; where there is nobody of that
    name, the file is looked for as it is written."""
    try:
        return folder / FilePath(said).expanduser()
    except RuntimeError:
        return folder / said


def _read_text(file: FilePath, said: str) -> str:
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise BadValue(
            "lab-local-file", f"{shorten(said)} cannot be read: {why}", "paths are taken from the lab file's folder"
        ) from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise BadValue("lab-local-file", f"{shorten(said)} is not a regular file", "give the path of a text file")
    with os.fdopen(descriptor, "rb") as stream:
        content = stream.read(MAX_FILE + 1)
    if len(content) > MAX_FILE:
        raise BadValue("lab-local-file", f"{shorten(said)} is larger than 1 MiB", "put a smaller file there")
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise BadValue("lab-local-file", f"{shorten(said)} is not UTF-8 text", "give a text file") from None
    if "\0" in text:
        raise BadValue("lab-local-file", f"{shorten(said)} holds a NUL character", "give a text file")
    return text


LocalFile = Annotated[
    LocalText,
    BeforeValidator(_local_text, json_schema_input_type=str),
    WithJsonSchema({"type": "string", "minLength": 1, "description": "A path, relative to the lab file."}),
]


def _mib(value: Any) -> str:
    return f"{parse_mib(value) // MIB}MiB"


def _kib(value: Any) -> str:
    size = parse_size(value)
    if size % KIB:
        raise BadValue("lab-size", f"{shorten(written(value))} is no whole number of KiB", "write it as 512KiB")
    return f"{size // KIB}KiB"


_SIZE_SCHEMA = WithJsonSchema(
    {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)? ?(KiB|MiB|GiB|TiB)$", "examples": ["4GiB", "512MiB"]}
)
MibSize = Annotated[str, BeforeValidator(_mib), _SIZE_SCHEMA]
"""A size in whole MiB; `in_mib` gives the number."""
KibSize = Annotated[str, BeforeValidator(_kib), _SIZE_SCHEMA]
"""A size in whole KiB; `in_kib` gives the number."""


def in_mib(size: str) -> int:
    """The number of a MibSize."""
    return parse_size(size) // MIB


def in_kib(size: str) -> int:
    """The number of a KibSize."""
    return parse_size(size) // KIB
