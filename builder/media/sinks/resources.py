"""What the HTTP server answers with: a planned image, a file inside one, or bytes of our own."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from builder.media.errors import MediaError
from builder.media.medium import Medium, image_path, open_medium
from builder.media.plan import GraftPlan, PlannedImage
from builder.media.sinks.copying import send_bytes
from builder.media.sinks.stream import send_part

NO_TIME = 0.0
TEXT, ISO9660 = "text/plain; charset=utf-8", "application/x-iso9660-image"


class Resource(Protocol):
    """`tag` is a strong validator, `modified` seconds since 1970, `kind` a media type."""

    @property
    def size(self) -> int: ...

    @property
    def tag(self) -> str: ...

    @property
    def kind(self) -> str: ...

    @property
    def modified(self) -> float: ...

    def fresh(self) -> bool:
        """Whether it still is what it was: half an old and half a new image is worse than none."""
        ...

    def send(self, fd: int, start: int, end: int) -> None:
        """Raises OSError when the reader went away."""
        ...


@dataclass(frozen=True, slots=True)
class ImageResource:
    """A whole image, or with `pieces` (offset, length) a file in it."""

    plan: GraftPlan
    image: PlannedImage
    tag: str
    kind: str = ISO9660
    pieces: tuple[tuple[int, int], ...] | None = None

    @property
    def size(self) -> int:
        return self.image.size if self.pieces is None else sum(length for _at, length in self.pieces)

    @property
    def modified(self) -> float:
        return self.plan.source.mtime_ns / 10**9

    def fresh(self) -> bool:
        try:
            self.plan.source.check(self.image.source_fd)
        except MediaError:
            return False
        return True

    def send(self, fd: int, start: int, end: int) -> None:
        for first, last in self._ranges(start, end):
            send_part(self.image, fd, first, last)

    def _ranges(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        before = 0
        for at, length in self.pieces if self.pieces is not None else ((0, self.image.size),):
            first, last = max(start - before, 0), min(end - before, length)
            if first < last:
                yield at + first, at + last
            before += length


@dataclass(frozen=True, slots=True)
class BytesResource:
    """An answer file, a script, a small volume."""

    content: bytes
    kind: str = TEXT

    @property
    def size(self) -> int:
        return len(self.content)

    @property
    def tag(self) -> str:
        return f'"{hashlib.sha256(self.content).hexdigest()[:32]}"'

    @property
    def modified(self) -> float:
        return NO_TIME

    def fresh(self) -> bool:
        return True

    def send(self, fd: int, start: int, end: int) -> None:
        send_bytes(fd, self.content[start:end])


class Tree:
    """The files of an image by their paths: an installation source as it was when the image was made."""

    def __init__(self, whole: ImageResource) -> None:
        self._whole = whole
        self._medium: Medium | None = None
        self._lock = threading.Lock()

    def find(self, path: str) -> ImageResource | None:
        """A file of the image; None when there is none under that path, or it is one that must be unpacked."""
        with self._lock:
            try:
                if self._medium is None:
                    self._medium = open_medium(self._whole.image)
                pieces = self._medium.file(image_path(path))
            except MediaError:
                return None
        tag = f'{self._whole.tag[:-1]}-{pieces[0][0]}"'
        return ImageResource(self._whole.plan, self._whole.image, tag, "application/octet-stream", tuple(pieces))


class Catalogue:
    """Resources by their paths, each with its slash in front."""

    def __init__(self, fixed: Mapping[str, Resource], trees: Mapping[str, Tree]) -> None:
        self._fixed, self._trees = fixed, trees

    def find(self, path: str) -> Resource | None:
        known = self._fixed.get(path)
        if known is not None:
            return known
        for prefix, tree in self._trees.items():
            if path.startswith(prefix + "/"):
                return tree.find(path[len(prefix) :])
        return None


def tag_of(plan: GraftPlan) -> str:
    """Equal for equal images of an unchanged source."""
    sum_ = hashlib.sha256(repr((plan.source, plan.cut, plan.size)).encode())
    for run in plan.runs:
        sum_.update(repr((run.offset, run.length, run.payload)).encode())
    for sector in sorted(plan.patches):
        sum_.update(sector.to_bytes(8, "big") + plan.patches[sector])
    return f'"{sum_.hexdigest()[:32]}"'
