"""The plan as a stream: to a pipe, a socket, standard output."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from builder.media.plan import GraftPlan, PlannedImage
from builder.media.sinks.copying import send, send_bytes
from builder.media.sinks.file import write_failed

_ZEROS = bytes(1 << 16)
_TOLD_EVERY = 64 << 20


def write_stream(plan: GraftPlan, fd: int, *, progress: Callable[[int, int], None] | None = None) -> int:
    """Send the whole image; returns its size. `progress` is told (bytes sent, bytes in all).

    Raises BrokenPipeError when the reader went away, MediaError when what is written to has no room.
    """
    with plan.open() as image:
        for at in range(0, image.size, _TOLD_EVERY):
            end = min(at + _TOLD_EVERY, image.size)
            try:
                send_part(image, fd, at, end)
            except BrokenPipeError:
                raise
            except OSError as error:
                raise write_failed(error, Path("standard output"), image.size) from None
            if progress is not None:
                progress(end, image.size)
    return plan.size


def send_part(image: PlannedImage, fd: int, start: int, end: int) -> None:
    """Send the image's bytes between two offsets. Source bytes go from file to descriptor inside the kernel."""
    for segment in image.ranges(start, end):
        place = image.locate(segment)
        if place is not None:
            send(place[0], place[1], fd, segment.length)
        elif isinstance(segment.payload, bytes):
            send_bytes(fd, segment.payload)
        else:
            for at in range(0, segment.length, len(_ZEROS)):
                send_bytes(fd, _ZEROS[: segment.length - at])
