"""Who may read an image: whoever may read all that goes onto it; with answers, password hashes or private keys its
owner alone."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from builder.media.edits import Arguments, Edit, Overlay, Put
from builder.media.view import open_readable
from builder.secrets import holds_secret

EVERYBODY, OWNER = 0o666, 0o600
_TEXT_MAX = 1 << 20
_HEAD = 4096


def mode_of(source_fd: int, edits: Iterable[Edit]) -> int:
    """The permission bits that a file may have at most that holds the source with these edits.

    The umask takes its part off them. An image made from another that was its owner's alone is so too: what that one
    holds cannot be seen from outside. Raises MediaError for a local file that cannot be read.
    """
    mode = _readers(source_fd)
    for edit in edits:
        mode &= _mode(edit)
    return mode


def _mode(edit: Edit) -> int:
    if isinstance(edit, Arguments):
        return _unless(holds_secret(" ".join((*edit.kernel, *edit.hypervisor))))
    if isinstance(edit, Overlay):
        return _unless(any(file.secret or _shows(file.content) for file in edit.files))
    if isinstance(edit, Put) and edit.secret:
        return OWNER
    return _local(edit.content) if isinstance(edit.content, Path) else _unless(_shows(edit.content))


def _unless(secret: bool) -> int:
    return OWNER if secret else EVERYBODY


def _shows(content: bytes) -> bool:
    """Whether a text holds a secret. What is too long for one that somebody wrote is not looked at, nor are binaries:
    a plan takes milliseconds."""
    text = len(content) <= _TEXT_MAX and b"\0" not in content[:_HEAD]
    return text and holds_secret(content.decode("latin-1"))


def _local(path: Path) -> int:
    fd = open_readable(path)
    try:
        text = os.fstat(fd).st_size <= _TEXT_MAX and b"\0" not in os.pread(fd, _HEAD, 0)
        return _readers(fd) & _unless(text and _shows(os.pread(fd, _TEXT_MAX, 0)))
    finally:
        os.close(fd)


def _readers(fd: int) -> int:
    """Read and write for each class that may read the file. A disk's own mode says nothing of what is on it."""
    mode = os.fstat(fd).st_mode
    if not stat.S_ISREG(mode):
        return EVERYBODY
    return OWNER | (0o060 if mode & stat.S_IRGRP else 0) | (0o006 if mode & stat.S_IROTH else 0)
