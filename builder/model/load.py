"""From the bytes of a lab file to a lab, or to everything that is wrong with it.

The way: bytes -> text -> `document` (YAML with positions) -> `layers` (types) -> `resolve` (every value) -> `lint`.
A file that is no YAML stops there; from then on each stage goes on with what the one before it could make sense of,
so that one run reports all there is to report.
"""

from __future__ import annotations

import codecs
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any

from pydantic import ValidationError

from builder.errors import LabFileError, Problem
from builder.model.document import Document, Map, Path, Unreadable, read_document
from builder.model.explain import explain, place
from builder.model.lab import Lab
from builder.model.layers import LabLayer
from builder.model.lint import HostLimits, lint, notes
from builder.model.plan import SystemTraits
from builder.model.report import Report
from builder.model.resolve import resolve
from builder.model.words import describe, shorten

__all__ = ["HostLimits", "Loaded", "load_lab", "parse_lab", "read_lab"]

MAX_BYTES = 4 << 20
MOST_PROBLEMS = 50

# What YAML does not allow in a file: C0 controls but tab and line ends, DEL, C1 controls but NEL, and non-characters.
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x80-\x84\x86-\x9f\ufffe\uffff]")


@dataclass(frozen=True, slots=True)
class Loaded:
    """A lab, and what is worth telling about it although nothing is wrong."""

    lab: Lab
    notes: tuple[Problem, ...]


def read_lab(path: FilePath | str, systems: Mapping[str, SystemTraits], *, limits: HostLimits | None = None) -> Lab:
    """The lab of a file. Raises LabFileError with every problem, in file order.

    With `limits`, a lab that asks for more than the machine has is refused as well.
    """
    return load_lab(path, systems, limits=limits).lab


def load_lab(path: FilePath | str, systems: Mapping[str, SystemTraits], *, limits: HostLimits | None = None) -> Loaded:
    """As `read_lab`, with notes. Relative paths in the file are taken from the file's folder."""
    file = FilePath(path)
    return parse_lab(_read(file), systems, file=file, folder=file.absolute().parent, limits=limits)


def parse_lab(
    content: bytes,
    systems: Mapping[str, SystemTraits],
    *,
    file: FilePath | str = "<lab>",
    folder: FilePath | None = None,
    limits: HostLimits | None = None,
) -> Loaded:
    """The lab in `content`; `file` is what errors call it, `folder` what its relative paths start from."""
    try:
        document = read_document(_text(content))
    except Unreadable as error:
        raise LabFileError(file, _first(list(error.problems), 0)) from None
    report = Report(document)
    report.problems.extend(document.problems)
    if not isinstance(document.root, Map):
        report.add(
            "lab-wrong-type",
            f"a lab file is a mapping, and this is {describe(document.root)}",
            "begin with name: and nodes:; labs/ has examples",
            (),
        )
        raise LabFileError(file, report.problems)
    _take_out_nothing(document.root, (), report)
    lab = _lab(document, report, systems, folder=folder or FilePath.cwd(), limits=limits)
    if report.problems or lab is None:
        raise LabFileError(file, _first(report.problems, report.left_out))
    return Loaded(lab, notes(lab, document, limits=limits))


def _lab(
    document: Document,
    report: Report,
    systems: Mapping[str, SystemTraits],
    *,
    folder: FilePath,
    limits: HostLimits | None,
) -> Lab | None:
    """The lab, as far as there is one; what is wrong goes to the report."""
    try:
        layer: LabLayer | None = LabLayer.model_validate(document.root)
    except ValidationError as error:
        before = len(report.problems)
        explain(error, report)
        layer = _salvage(document.root, [problem.path for problem in report.problems[before:]])
    if layer is None:
        return None
    lab = resolve(layer, report, systems, folder=folder)
    resolved = {node.name for node in lab.nodes}
    lint(
        lab,
        report,
        systems,
        limits=limits,
        other_nodes=[name for name in document.root["nodes"] if name not in resolved],
        other_networks=[name for name in document.root.get("networks", ()) if name not in layer.networks],
    )
    return lab


def _read(file: FilePath) -> bytes:
    """The file's bytes. A FIFO or a device is refused before it is read: it may never end."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        hint = "give the path of a lab file; labs/ has examples"
        if isinstance(error, PermissionError):
            hint = f"make it readable: chmod u+r {file}"
        problem = Problem("lab-file", f"the file cannot be read: {error.strerror}", hint)
        raise LabFileError(file, [problem]) from None
    info = os.fstat(descriptor)
    if not stat.S_ISREG(info.st_mode):
        os.close(descriptor)
        what = "a folder" if stat.S_ISDIR(info.st_mode) else "not a regular file"
        raise LabFileError(file, [Problem("lab-file", f"this is {what}", "give the path of a lab file")])
    with os.fdopen(descriptor, "rb") as stream:
        content = stream.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        problem = Problem(
            "lab-file-size",
            f"the file has {max(info.st_size, len(content)):,} bytes, and a lab file has {MAX_BYTES:,} at most",
            "is this the right file? a lab of 1,000 nodes has about 350,000 bytes",
        )
        raise LabFileError(file, [problem])
    return content


def _text(content: bytes) -> str:
    """Raises Unreadable for what is not UTF-8 text."""
    for mark, name in ((codecs.BOM_UTF16_LE, "UTF-16"), (codecs.BOM_UTF16_BE, "UTF-16")):
        if content.startswith(mark):
            message = f"the file is {name} text, and a lab file is UTF-8"
            raise Unreadable(Problem("lab-encoding", message, "save it as UTF-8", line=1, column=1))
    try:
        text = content.removeprefix(codecs.BOM_UTF8).decode()
    except UnicodeDecodeError as error:
        offset = error.start + len(content) - len(content.removeprefix(codecs.BOM_UTF8))
        before = content[:offset].removeprefix(codecs.BOM_UTF8).decode(errors="replace")
        line, column = _place(before)
        byte = content[offset]
        raise Unreadable(
            Problem(
                "lab-encoding",
                f"byte 0x{byte:02x} at offset {offset:,} is not UTF-8 text",
                "save the file as UTF-8, such as with: iconv -f latin1 -t utf-8",
                line=line,
                column=column,
            )
        ) from None
    problems = []
    for match in _CONTROL.finditer(text):
        line, column = _place(text[: match.start()])
        what = f"the control character U+{ord(match[0]):04X}"
        hint = "the file is binary; give the path of a lab file" if match[0] == "\0" else "remove it"
        problems.append(Problem("lab-control", f"{what} stands here", hint, line=line, column=column))
        if len(problems) == 10:
            break
    if problems:
        raise Unreadable(*problems)
    return text


def _place(before: str) -> tuple[int, int]:
    lines = re.split("\r\n|[\r\n\x85\u2028\u2029]", before)
    return len(lines), len(lines[-1]) + 1


def _take_out_nothing(value: Any, path: Path, report: Report) -> None:
    """Remove keys without a value, and say so. A node or a network may be empty: its name says enough."""
    if isinstance(value, Map):
        for key in [key for key, inner in value.items() if inner is None]:
            if path not in (("nodes",), ("networks",)):
                del value[key]
                report.add(
                    "lab-empty-value",
                    f"{shorten(key)} of {place(path)} has no value",
                    "give it one, or remove the line",
                    (*path, key),
                    key=True,
                )
        for key, inner in value.items():
            _take_out_nothing(inner, (*path, key), report)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            _take_out_nothing(inner, (*path, index), report)


def _salvage(root: Mapping[str, Any], wrong: list[Path]) -> LabLayer | None:
    """The part of a lab that the type layer found nothing wrong with, or None if too little is left to go on with.

    Nodes and networks with a finding are left out as a whole, so that no finding comes from another one.
    """
    rest = {key: dict(value) if isinstance(value, dict) else value for key, value in root.items()}
    for path in wrong:
        if path[:1] in (("nodes",), ("networks",)) and len(path) > 1:
            rest[str(path[0])].pop(str(path[1]), None)
        elif path[:1] in ((), ("nodes",), ("networks",), ("defaults",)):
            return None
        else:
            rest.pop(str(path[0]), None)
    rest.setdefault("name", "lab")
    try:
        return LabLayer.model_validate(rest)
    except ValidationError:
        return None


def _first(problems: list[Problem], left_out: int) -> list[Problem]:
    """The first ones in file order, with the number of those left out."""
    if len(problems) + left_out <= MOST_PROBLEMS:
        return problems
    shown = sorted(problems, key=lambda p: (p.line, p.column, p.code))[:MOST_PROBLEMS]
    left = len(problems) + left_out - MOST_PROBLEMS
    last = shown[-1]
    more = Problem(
        "lab-more", f"{left} more problems are not shown", "mend these first", (), last.line, last.column + 1
    )
    return [*shown, more]
