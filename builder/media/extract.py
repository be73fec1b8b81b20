"""Files out of a medium, or out of one that is only planned: kernels and initrds for direct or network boot."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from builder.media.medium import image_path, open_medium
from builder.media.plan import GraftPlan, opened
from builder.media.sinks.file import write_failed
from builder.media.view import Readable, in_pieces
from builder.paths import atomic_file


def extract(what: Path | GraftPlan, wanted: Mapping[str, Path]) -> int:
    """Copy files of the image (path -> local target), each whole or not at all; returns the bytes written.

    Raises MediaError for a path that is no file on the medium, before anything is written.
    """
    with opened(what) as source:
        medium = open_medium(source)
        places = {target: medium.file(image_path(path)) for path, target in wanted.items()}
        return sum(_copy(source, pieces, target) for target, pieces in places.items())


def _copy(source: Readable, pieces: list[tuple[int, int]], target: Path) -> int:
    size = sum(length for _at, length in pieces)
    try:
        with atomic_file(target) as file:
            for at, length in pieces:
                for piece in in_pieces(source.read, at, length):
                    file.write(piece)
    except OSError as error:
        raise write_failed(error, target, size) from None
    return size
