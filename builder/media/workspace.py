"""The files that a plan gives new content, before they are laid out. A file is known by where its bytes are, so that
all its hard links are one."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from builder.media.errors import MediaError
from builder.media.medium import Medium, image_path
from builder.media.view import FilePart, Identity, SourcePart, in_pieces, open_readable, read_exactly

Part = tuple[int, "bytes | SourcePart | FilePart"]


@dataclass(slots=True)
class Staged:
    """A file's coming content: `parts` are (length, payload) in order. `old`: where it lies now, None when new.

    `how` is the word for the report.
    """

    path: str
    parts: list[Part]
    old: tuple[tuple[int, int], ...] | None
    mode: int = 0o444
    how: str = "added"

    @property
    def size(self) -> int:
        return sum(length for length, _payload in self.parts)

    @property
    def in_memory(self) -> bytes | None:
        """The content when all of it is bytes."""
        pieces = [payload for _length, payload in self.parts]
        return (
            b"".join(p for p in pieces if isinstance(p, bytes)) if all(isinstance(p, bytes) for p in pieces) else None
        )


@dataclass(slots=True)
class Workspace:
    """New content by path; reads see it, and what the medium has where there is none."""

    medium: Medium
    staged: list[Staged] = field(default_factory=list)
    _by_path: dict[str, Staged] = field(default_factory=dict)
    _by_place: dict[tuple[int, int], Staged] = field(default_factory=dict)

    def get(self, path: str) -> Staged | None:
        """The coming content of a path, under whichever of its names it was staged."""
        known = self._by_path.get(path)
        if known is None and (pieces := self.medium.data(path)) and pieces[0][1]:
            known = self._by_place.get(pieces[0])
        return known

    def exists(self, path: str) -> bool:
        return self.get(path) is not None or self.medium.find(path) is not None

    def put(self, path: str, parts: list[Part], *, how: str, mode: int = 0o444) -> Staged:
        """Give a file new content. Raises MediaError for a path that is a folder or a link on the medium."""
        path = image_path(path)
        known = self.get(path)
        if known is None:
            hit = self.medium.find(path)
            old = None
            if hit is not None:
                pieces = self.medium.data(path)
                if pieces is None:
                    raise MediaError(f"{path} is a folder or a link on the medium", hint="name a regular file")
                old = tuple(pieces)
            elif path == "/":
                raise MediaError("an edit names no file", hint="write its path on the medium, such as /answer.xml")
            known = Staged(path, parts, old, mode, how)
            self.staged.append(known)
            self._by_path[path] = known
            if old and old[0][1]:
                self._by_place[old[0]] = known
        elif how != "menu edited" or known.how not in ("added", "replaced"):
            known.how = how
        known.parts = [part for part in parts if part[0]]
        return known

    def parts(self, path: str) -> list[Part]:
        """What a file consists of now. Raises MediaError when it is not there, or cannot be read by ranges."""
        known = self.get(path)
        if known is not None:
            return list(known.parts)
        hit = self.medium.find(path)
        pieces = self.medium.data(path)
        if hit is None or pieces is None:
            raise MediaError(f"{path} is not a file on the medium", hint="look at what is there with inspect")
        if hit.rock_ridge.zisofs:
            raise MediaError(f"{path} is compressed by zisofs", hint="replace it as a whole instead")
        out: list[Part] = []
        for at, length in pieces:
            last = out[-1] if out else None
            if last is not None and isinstance(last[1], SourcePart) and last[1].offset + last[0] == at:
                out[-1] = (last[0] + length, last[1])
            else:
                out.append((length, SourcePart(at)))
        return out

    def text(self, path: str, limit: int = 1 << 20) -> bytes:
        """A small file's coming content."""
        parts = self.parts(path)
        if sum(length for length, _payload in parts) > limit:
            raise MediaError(f"{path} is too big to be edited as text", hint="replace it as a whole instead")
        return b"".join(self.stream(parts))

    def peek(self, parts: list[Part], offset: int, length: int) -> bytes:
        """At most `length` bytes of a content from `offset` on."""
        out = bytearray()
        for size, payload in parts:
            if offset < size and length > 0:
                take = min(length, size - offset)
                piece: Part = (take, _from(payload, offset))
                out += b"".join(self.stream([piece]))
                length -= take
                offset = 0
            else:
                offset = max(0, offset - size)
        return bytes(out)

    def stream(self, parts: list[Part]) -> Iterator[bytes]:
        """The bytes of parts, in pieces."""
        for length, payload in parts:
            if isinstance(payload, bytes):
                yield payload[:length]
            elif isinstance(payload, SourcePart):
                yield from in_pieces(self.medium.view.source.read, payload.offset, length)
            else:
                yield from _file(payload, length)

    def digest(self, parts: list[Part], algorithm: str) -> str:
        sum_ = hashlib.new(algorithm, usedforsecurity=False)
        for piece in self.stream(parts):
            sum_.update(piece)
        return sum_.hexdigest()


def _from(payload: bytes | SourcePart | FilePart, skip: int) -> bytes | SourcePart | FilePart:
    if isinstance(payload, bytes):
        return payload[skip:]
    if isinstance(payload, SourcePart):
        return SourcePart(payload.offset + skip)
    return FilePart(payload.identity, payload.offset + skip)


def _file(payload: FilePart, length: int) -> Iterator[bytes]:
    fd = open_readable(payload.identity.path)
    try:
        payload.identity.check(fd)
        yield from in_pieces(partial(read_exactly, fd, path=payload.identity.path), payload.offset, length)
    finally:
        os.close(fd)


def content_part(content: bytes | Path) -> Part:
    """What an edit brings: bytes as they are, a local file by reference."""
    if isinstance(content, bytes):
        return len(content), content
    fd = open_readable(content)
    try:
        identity = Identity.of(fd, content.absolute())
    finally:
        os.close(fd)
    return identity.size, FilePart(identity)
