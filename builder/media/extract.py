"""Files out of a medium, or out of one that is only planned: kernels and initrds for direct or network boot."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from builder.media.errors import MediaError
from builder.media.medium import image_path, open_medium
from builder.media.plan import GraftPlan, opened
from builder.media.view import Readable, in_pieces
from builder.paths import atomic_file


def extract(what: Path | GraftPlan, wanted: Mapping[str, Path]) -> int:
    """Copy files of the image (path -> local target), each whole or not at all; returns the bytes written.

    Raises MediaError for a path that is no file on the medium, before anything is written.
    """
    with opened(what) as source:
        medium = open_medium(source)
        places = {}
        for path, target in wanted.items():
            hit = medium.find(image_path(path))
            pieces = medium.data(image_path(path))
            if hit is None or pieces is None:
                raise MediaError(f"{path} is not a file on the medium", hint="look at what is there with inspect")
            if hit.rock_ridge.zisofs:
                raise MediaError(f"{path} is compressed by zisofs", hint="mount the medium to read it")
            places[target] = pieces
        return sum(_copy(source, pieces, target) for target, pieces in places.items())


def _copy(source: Readable, pieces: list[tuple[int, int]], target: Path) -> int:
    try:
        with atomic_file(target) as file:
            for at, length in pieces:
                for piece in in_pieces(source.read, at, length):
                    file.write(piece)
    except OSError as error:
        raise MediaError(
            f"cannot write {target}: {error.strerror}", hint="check the folder, its room and its permissions"
        ) from None
    return sum(length for _at, length in pieces)
