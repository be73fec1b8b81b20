"""The plan as a stream: to a pipe, a socket, standard output."""

from __future__ import annotations

from builder.media.plan import GraftPlan, PlannedImage
from builder.media.sinks.copying import send, send_bytes

_ZEROS = bytes(1 << 16)


def write_stream(plan: GraftPlan, fd: int) -> int:
    """Send the whole image; returns its size. Raises BrokenPipeError when the reader went away."""
    with plan.open() as image:
        send_part(image, fd, 0, image.size)
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
