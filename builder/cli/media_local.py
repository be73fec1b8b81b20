"""Local files that the options of `nestlab media` name. Whatever they are not is refused before a plan is made."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Literal

import click

from builder.errors import UsageError
from builder.media.errors import WrongPath

ISO = click.Path(path_type=Path, readable=False)  # what cannot be read is said by what reads it, with a hint
TEXT_MAX = 1 << 20
"""Bytes that an answer file or a key may have: more is some other file, named by mistake."""


def local_files(given: tuple[str, ...]) -> Iterator[tuple[str, Path, int]]:
    """(path in the image, local file, permission bits) of every LOCAL:/PATH."""
    for text in given:
        local, colon, target = text.rpartition(":/")
        if not colon or not local:
            raise UsageError(f"{text!r} does not say where it goes", hint="write LOCAL:/IN/IMAGE")
        path = Path(local)
        kind = _kind(path)
        if kind == "file":
            name = f"/{target}{path.name}" if not target or target.endswith("/") else f"/{target}"
            yield name, path, path.stat().st_mode & 0o777
            continue
        for below in sorted(_below(path)):
            if below.is_symlink() or not (below.is_dir() or below.is_file()):
                raise UsageError(f"{below} is neither a file nor a folder", hint="put plain files only on a medium")
            if below.is_file():
                inside = PurePosixPath("/" + target) / below.relative_to(path).as_posix()
                yield str(inside), below, below.stat().st_mode & 0o777


def _below(folder: Path) -> Iterator[Path]:
    """All that is below a folder. Raises WrongPath for a part that cannot be looked into: it would be left out without
    a word."""

    def refuse(error: OSError) -> None:
        raise WrongPath(f"cannot read {error.filename}: {error.strerror}", hint="check its permissions")

    for above, folders, files in os.walk(folder, onerror=refuse):
        yield from (Path(above, name) for name in (*folders, *files))


def _kind(path: Path) -> Literal["file", "folder"]:
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise WrongPath(f"cannot read {path}: {error.strerror}", hint="check the path and its permissions") from None
    if stat.S_ISDIR(mode):
        return "folder"
    if not stat.S_ISREG(mode):
        raise WrongPath(f"{path} is neither a file nor a folder", hint="name a regular file")
    return "file"


def small_files(given: tuple[str, ...], limit: int) -> list[tuple[str, bytes, int]]:
    """(path in the image, content, permission bits) of every LOCAL:/PATH. Raises WrongPath when they have more than
    `limit` bytes together, before more than that is read."""
    out, left = [], limit
    for path, local, mode in local_files(given):
        content = _read(local, left)
        left -= len(content)
        if left < 0:
            raise WrongPath(
                f"{', '.join(given)}: more than {limit} bytes in all",
                hint="what is big goes on the medium: media build --add",
            )
        out.append((path, content, mode))
    return out


def _read(path: Path, limit: int) -> bytes:
    """A file's bytes, and one more than `limit` where it has more."""
    if _kind(path) != "file":
        raise WrongPath(f"{path} is a folder", hint="name a regular file")
    try:
        # It may have been exchanged for a pipe by now, on which this must not wait.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:  # noqa: PTH123
            return file.read(limit + 1)
    except OSError as error:
        raise WrongPath(f"cannot read {path}: {error.strerror}", hint="check the path and its permissions") from None


def text_file(path: Path) -> str:
    """A local text file: an answer, a key. Raises WrongPath for what is none."""
    data = _read(path, TEXT_MAX)
    if len(data) > TEXT_MAX:
        raise WrongPath(f"{path} has more than {TEXT_MAX} bytes", hint="this is not the file that is meant")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise WrongPath(f"{path} is not text in UTF-8", hint="name the right file") from None
    if not text.strip() or "\0" in text:
        raise WrongPath(f"{path} is empty or not text", hint="name the right file")
    return text
