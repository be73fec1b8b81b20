"""Results on stdout: JSON, YAML, or columns that grep and awk can read."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import sys
import textwrap
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import click

from builder.secrets import redact

Format = Literal["table", "json", "yaml"]
F = TypeVar("F", bound=Callable[..., Any])
FORMATS = ("table", "json", "yaml")
_LEAST_COLUMN = 16


def output_option(*more: str) -> Callable[[F], F]:
    """-o/--output, with formats beside the usual three."""
    return click.option(
        "-o", "--output", "how", type=click.Choice([*FORMATS, *more]), default="table", help="Form of the result."
    )


def show(value: Any, how: str, table: Callable[[], str], *, empty: str = "") -> None:
    """Print plain data (JSON types) in the asked form, secrets blanked; `table` is called for the form people read.
    Where that is nothing at all, people are told `empty`, on stderr."""
    if how == "json":
        click.echo(json.dumps(blanked(value), indent=2, ensure_ascii=not speaks_utf8()))
    elif how == "yaml":
        import yaml

        text = yaml.dump(blanked(value), Dumper=yaml.CSafeDumper, sort_keys=False, allow_unicode=speaks_utf8())
        click.echo(text, nl=False)
    elif text := table():
        click.echo(text)
    elif empty:
        click.echo(empty, err=True)


def need_plain_file(out: Path) -> None:
    """Told before what takes long, and before a device, a link or a folder is replaced by a file. Raises LabError."""
    from builder.errors import LabError
    from builder.media.errors import MediaError
    from builder.media.sinks.file import plain_target

    try:
        writable = os.access(plain_target(out).parent, os.W_OK)
    except MediaError as error:
        raise LabError(f"{out} cannot be written: {error.message}", hint="name another file") from None
    if not writable:
        raise LabError(f"{out} cannot be written: its folder is not yours to write to", hint="name another file")


def speaks_utf8() -> bool:
    """Whether stdout takes every letter. Where it does not, JSON and YAML have their own ways to write the others."""
    return (getattr(sys.stdout, "encoding", None) or "utf-8").lower().replace("-", "") == "utf8"


def blanked(value: Any) -> Any:
    """The value with the secrets in its texts blanked: in the finished document that could break its syntax."""
    if isinstance(value, dict):
        return {key: blanked(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [blanked(inner) for inner in value]
    return redact(value) if isinstance(value, str) and ("$" in value or "://" in value or "-----" in value) else value


def printable(text: str) -> str:
    """Text that others wrote, as a terminal may have it: nothing in it moves the cursor or sets colours."""
    return "".join(char if char.isprintable() or char in "\n\t\xa0" else "?" for char in text)


def columns(header: Sequence[str], rows: Sequence[Sequence[object]], width: int | None = None) -> str:
    """Left-aligned columns with a header in capitals, two spaces apart, never cut. With a `width`, texts of all columns
    but the first go on below where the table would be wider."""
    lines = [[title.upper() for title in header], *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(header))]
    if width is not None:
        _narrow(widths, width)
        lines = [line for row in lines for line in _broken(row, widths)]
    return "\n".join(
        "  ".join(cell.ljust(room) for cell, room in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def terminal_width() -> int | None:
    """Characters in a line of the terminal that stdout is; None for a file or a pipe, where every row is one line."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _narrow(widths: list[int], width: int) -> None:
    """Take from the widest column until all fit, and from none below what can be read."""
    while sum(widths) + 2 * (len(widths) - 1) > width and max(widths[1:], default=0) > _LEAST_COLUMN:
        at = max(range(1, len(widths)), key=widths.__getitem__)
        widths[at] -= 1


def _broken(row: Sequence[str], widths: Sequence[int]) -> list[list[str]]:
    cells = [textwrap.wrap(cell, room, break_on_hyphens=False) for cell, room in zip(row, widths, strict=True)]
    return [list(line) for line in itertools.zip_longest(*cells, fillvalue="")] or [list(row)]


def fields(pairs: Mapping[str, object], width: int | None = None) -> str:
    """One value per line under aligned names. With a `width`, values go on below where lines would be longer."""
    names = max((len(name) for name in pairs), default=0)
    rows = []
    for name, value in pairs.items():
        parts = [str(value)] if width is None else _wrapped(str(value), max(width - names - 2, _LEAST_COLUMN))
        rows += [
            f"{title.ljust(names)}  {part}".rstrip()
            for title, part in itertools.zip_longest([name], parts, fillvalue="")
        ]
    return "\n".join(rows)


def _wrapped(text: str, room: int) -> list[str]:
    return textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False) or [""]


def bytes_text(size: int) -> str:
    """A size for reading, not exact: 817 MiB, 4.2 GiB."""
    value, unit = float(size), "B"
    for bigger in ("KiB", "MiB", "GiB", "TiB"):
        if value < 1024:
            break
        value, unit = value / 1024, bigger
    return f"{value:.0f} {unit}" if value >= 10 or unit == "B" else f"{value:.1f} {unit}"


def span_text(seconds: float) -> str:
    """A time span for reading: 45 s, 3 m 20 s, 11 h 59 m, 6 d 3 h."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} m {whole % 60} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60} m"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def left_text(expires_at: float, now: float | None = None) -> str:
    """What is left of a lease; `expires_at` is seconds since the epoch, 0 for never."""
    if not expires_at:
        return "never"
    left = expires_at - (time.time() if now is None else now)
    return f"in {span_text(left)}" if left > 0 else f"{span_text(-left)} ago"
