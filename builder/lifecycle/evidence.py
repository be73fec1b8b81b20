"""The files that tell how a lab fared, as its keeper writes them."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

_FILES = ("*.json", "*.jsonl", "*.xml", "keeper.log")
_NODE_FILES = ("console.log", "domain.xml", "screen.png", "screen.ppm", "installer.log")


def copy_evidence(lab: Path, to: Path) -> None:
    """Copy what a keeper wrote of its lab, as far as it is there and there is room."""
    for pattern in (*_FILES, *(f"nodes/*/{name}" for name in _NODE_FILES)):
        for file in lab.glob(pattern):
            target = to / file.relative_to(lab)
            with contextlib.suppress(OSError):
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, target)
