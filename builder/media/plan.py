"""A plan: the image that a medium and some edits make, as ranges of bytes. Made in milliseconds, carried out by a sink.

Nothing is written here, and no file of the source is read whole (but those whose checksum the medium itself lists).
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

from builder.media.bootedit import BootEdits
from builder.media.edits import Arguments, Edit, Extend, Overlay, Put
from builder.media.errors import MediaError, damaged
from builder.media.implanted import blanked, holds_digest, implant, implanted_md5
from builder.media.layout import lay_out
from builder.media.medium import Medium, image_path, open_medium
from builder.media.mend import growth, mend
from builder.media.privacy import EVERYBODY, mode_of
from builder.media.sums import update_manifests
from builder.media.view import (
    SECTOR,
    FilePart,
    Identity,
    Segment,
    Source,
    SourcePart,
    View,
    compose,
    in_pieces,
    open_readable,
    read_exactly,
)
from builder.media.workspace import Workspace, content_part

_TAIL_READ = 512 << 10


@dataclass(frozen=True, slots=True)
class Touched:
    """A file of the image that is not as on the source. `size` in bytes; `how` one word or two."""

    path: str
    how: str
    size: int


@dataclass(frozen=True, slots=True)
class GraftPlan:
    """What a sink needs. `patches`: whole sectors by number. `runs`: new bytes behind `cut`, in order, disjoint.

    The image is the source up to `cut`, `size - source.size` bytes of runs and zeros, the rest of the source, and the
    patches on top. `stale`: checksum lists of the medium that this makes wrong. `bytes_read`: what planning cost.
    `mode`: the permission bits that a file with the image may have at most.
    """

    source: Identity
    cut: int
    size: int
    runs: tuple[Segment, ...]
    patches: Mapping[int, bytes]
    touched: tuple[Touched, ...] = ()
    notes: tuple[str, ...] = ()
    stale: tuple[str, ...] = ()
    bytes_read: int = 0
    mode: int = EVERYBODY

    @property
    def is_noop(self) -> bool:
        """Whether the image is the source, byte for byte."""
        return not self.patches and not self.runs and self.size == self.source.size

    @property
    def written(self) -> int:
        """Bytes that differ from a plain copy of the source: what an in-place or overlay sink has to write."""
        return sum(s.length for s in self.segments() if s.payload is not None and s.payload != SourcePart(s.offset))

    def segments(self) -> Iterator[Segment]:
        """The whole image, in order, without holes."""
        return compose(self._base(), self.patches)

    def _base(self) -> list[Segment]:
        out = [Segment(0, self.cut, SourcePart(0))] if self.cut else []
        at = self.cut
        for run in self.runs:
            if run.offset > at:
                out.append(Segment(at, run.offset - at, None))
            out.append(run)
            at = run.end
        if at < self.size:
            out.append(Segment(at, self.size - at, None))
        return out

    def open(self) -> PlannedImage:
        """The image for reading. Raises MediaError when a file it is made from has changed."""
        return PlannedImage(self)


class PlannedImage:
    """Random access to an image that exists only as a plan. Threads may share it: no read moves a position."""

    def __init__(self, plan: GraftPlan) -> None:
        self.path = plan.source.path
        self.size = plan.size
        self.segments = list(plan.segments())
        self._starts = [segment.offset for segment in self.segments]
        self._fds: dict[Path, int] = {}
        try:
            self._open(plan.source)
            for segment in self.segments:
                if isinstance(segment.payload, FilePart):
                    self._open(segment.payload.identity)
        except BaseException:
            self.close()
            raise
        self.source_fd = self._fds[plan.source.path]

    def _open(self, identity: Identity) -> None:
        if identity.path not in self._fds:
            self._fds[identity.path] = open_readable(identity.path)
            identity.check(self._fds[identity.path])

    def locate(self, segment: Segment) -> tuple[int, int] | None:
        """(descriptor, offset) where a segment's bytes lie in a file; None for bytes of the plan and zeros."""
        payload = segment.payload
        if isinstance(payload, SourcePart):
            return self.source_fd, payload.offset
        if isinstance(payload, FilePart):
            return self._fds[payload.identity.path], payload.offset
        return None

    def ranges(self, start: int, end: int) -> Iterator[Segment]:
        """The segments between two offsets, cut to them."""
        place = max(0, bisect_right(self._starts, start) - 1)
        while place < len(self.segments) and self.segments[place].offset < end:
            segment = self.segments[place]
            if segment.end > start:
                yield segment.part(max(start, segment.offset), min(end, segment.end))
            place += 1

    def read(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes. Raises MediaError past the end."""
        if offset < 0 or length < 0 or offset + length > self.size:
            raise damaged(f"bytes {offset} to {offset + length} of the planned image are past its end ({self.size})")
        return b"".join(self.pieces(offset, offset + length))

    def pieces(self, start: int, end: int) -> Iterator[bytes]:
        """Bytes between two offsets, in pieces of at most a mebibyte."""
        for segment in self.ranges(start, end):
            place, payload = self.locate(segment), segment.payload
            if place is not None:
                path = payload.identity.path if isinstance(payload, FilePart) else self.path
                yield from in_pieces(partial(read_exactly, place[0], path=path), place[1], segment.length)
            elif isinstance(payload, bytes):
                yield from in_pieces(partial(_slice, payload), 0, segment.length)
            else:
                yield from in_pieces(lambda _at, length: bytes(length), 0, segment.length)

    def close(self) -> None:
        for fd in self._fds.values():
            os.close(fd)
        self._fds.clear()

    def __enter__(self) -> PlannedImage:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


def _slice(data: bytes, offset: int, length: int) -> bytes:
    return data[offset : offset + length]


def opened(medium: Path | GraftPlan) -> Source | PlannedImage:
    """A medium for reading, be it a file or only a plan; to be used in a `with`."""
    return medium.open() if isinstance(medium, GraftPlan) else Source(medium)


def plan_edits(
    source: Path,
    edits: Sequence[Edit],
    *,
    md5: Literal["remove", "remake"] = "remove",
    checksums: Literal["update", "leave"] = "update",
) -> GraftPlan:
    """The image that `source` becomes by `edits`, which are taken in order.

    `md5`: what to do with a checksum implanted for the installer's media check: removing it takes the check out of
    the boot menus too; remaking it reads the whole image once. `checksums`: whether the medium's own lists follow.
    Raises MediaError for media that cannot be edited safely, and for edits that cannot be done.
    """
    with Source(source) as vendor:
        medium = open_medium(vendor)
        mode = mode_of(vendor.fd, edits)
        if not edits:
            return GraftPlan(vendor.identity, vendor.size, vendor.size, (), {}, bytes_read=vendor.bytes_read, mode=mode)
        _refuse(medium)
        view = medium.view
        for tree in medium.trees:
            tree.index()
        view.cut = view.end = medium.cut
        _check_cut(medium)
        work = Workspace(medium)
        boot = BootEdits(medium, work)
        _stage(work, boot, edits)
        descriptor = view.read(medium.primary, SECTOR)
        remake = md5 == "remake" and bool(implanted_md5(descriptor))
        if holds_digest(descriptor):
            view.patch(medium.primary, blanked(descriptor))
            if not remake:
                boot.remove_media_check()
        boot.write()
        stale = update_manifests(work, boot) if checksums == "update" else ()
        notes = [*boot.notes, *lay_out(medium, work)]
        if medium.hfs:
            notes.append("the HFS+ file system that Macs read keeps showing the old files")
        grown = growth(medium)
        mend(medium, grown)
        plan = replace(
            _assemble(vendor, view, grown),
            touched=tuple(_touched(work, boot)), notes=tuple(notes), stale=tuple(stale), mode=mode,
        )  # fmt: skip
        return _with_md5(plan, medium) if remake else plan


def _refuse(medium: Medium) -> None:
    if medium.udf:
        raise MediaError(
            "the image also holds a UDF file system, whose tree would keep the old files",
            hint="give the answers on a second volume, or over the network",
        )
    if medium.view.source.size % 512:
        raise MediaError("the image's length is not a whole number of sectors", hint="it is cut short: fetch it again")


def _check_cut(medium: Medium) -> None:
    for tree in medium.trees:
        if (tree.index().end + tree.base) * SECTOR > medium.view.cut:
            raise MediaError(
                "files lie behind the end that the volume descriptors tell", hint="the image is damaged: fetch it again"
            )


def _stage(work: Workspace, boot: BootEdits, edits: Sequence[Edit]) -> None:
    for edit in edits:
        if isinstance(edit, Put):
            path = image_path(edit.path)
            there = work.exists(path)
            if there and edit.expect == "new":
                raise MediaError(f"{path} is on the medium already", hint="replace it, or choose another path")
            if not there and edit.expect == "old":
                raise MediaError(f"{path} is not on the medium", hint="look at what is there with inspect, or add it")
            before = work.text(path, 1 << 24) if there and boot.has_twin(path) else None
            staged = work.put(path, [content_part(edit.content)], how="replaced" if there else "added", mode=edit.mode)
            boot.follow(staged, before)
        elif isinstance(edit, Extend):
            path = image_path(edit.path)
            work.put(path, [*work.parts(path), content_part(edit.content)], how="extended")
        elif isinstance(edit, Overlay):
            boot.overlay(edit)
        elif isinstance(edit, Arguments):
            boot.arguments(edit)


def _touched(work: Workspace, boot: BootEdits) -> Iterator[Touched]:
    for item in work.staged:
        yield Touched(item.path, item.how, item.size)
    for path, size in boot.written:
        yield Touched(f"{path} (in the boot image)", "menu edited", size)


def _assemble(vendor: Source, view: View, grown: int) -> GraftPlan:
    """The image's bytes, of which nothing is told yet."""
    view.settle()
    patches = {**view.patches, **{sector + grown // SECTOR: data for sector, data in view.tail_patches.items()}}
    runs = sorted(view.runs, key=lambda run: run.offset)
    runs += _tail(view, grown)
    return GraftPlan(vendor.identity, view.cut, vendor.size + grown, tuple(runs), patches, bytes_read=vendor.bytes_read)


def _tail(view: View, grown: int) -> list[Segment]:
    """The source behind the cut, at its new place. A short one is looked at: its zeros need not be written."""
    length = view.source.size - view.cut
    if not length:
        return []
    if not grown or length > _TAIL_READ:
        return [Segment(view.cut + grown, length, SourcePart(view.cut))]
    data = view.source.read(view.cut, length)
    out: list[Segment] = []
    for at in range(0, length, SECTOR):
        piece = data[at : at + SECTOR]
        if not piece.strip(b"\0"):
            continue
        if out and out[-1].end == view.cut + grown + at:
            last = out[-1]
            out[-1] = Segment(last.offset, last.length + len(piece), last.payload)
        else:
            out.append(Segment(view.cut + grown + at, len(piece), SourcePart(view.cut + at)))
    return out


def _with_md5(plan: GraftPlan, medium: Medium) -> GraftPlan:
    sector = medium.primary // SECTOR
    with plan.open() as image:
        descriptor = b"".join(image.pieces(medium.primary, medium.primary + SECTOR))
        volume = int.from_bytes(descriptor[80:84], "little") * SECTOR
        new = implant(descriptor, image.pieces(0, volume), volume)
    return replace(plan, patches={**plan.patches, sector: new}, bytes_read=plan.bytes_read + volume)
