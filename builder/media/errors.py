"""What goes wrong with a medium."""

from __future__ import annotations

from builder.errors import LabError

DAMAGED = "compare its size and checksum with the publisher's and fetch it again"


class MediaError(LabError):
    """A medium, or what is asked of it, cannot be worked with. The hint says what to do instead."""


class WrongPath(MediaError):
    """A path that was named is not what it was taken for: not there, no file, not to be written (exit 2)."""

    exit_code = 2


def damaged(message: str) -> MediaError:
    """The error for an image whose own structures contradict each other, by accident or on purpose."""
    return MediaError(message, hint=DAMAGED)
