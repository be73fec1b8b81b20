"""The plan as a qcow2 overlay on the source: only what differs is written. The source must stay where it is.

The format (QEMU's docs/interop/qcow2.txt), version 3, clusters of 4 KiB: header, refcounts, one L1 table, L2 tables
for the parts that differ, data. A cluster that is not mentioned is read from the source; beyond its end it is zero.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path

from builder.media.errors import MediaError
from builder.media.plan import GraftPlan, PlannedImage
from builder.media.sinks.copying import write_all
from builder.media.sinks.file import Written, check_target, check_unchanged, no_room, unnamed
from builder.media.view import Segment, SourcePart

CLUSTER_BITS = 12
CLUSTER = 1 << CLUSTER_BITS
PER_TABLE = CLUSTER // 8
_COPIED = 1 << 63
_ZERO = 1
_BACKING_FORMAT = 0xE2792ACA
_HEADER = struct.Struct(">4sIQIIQIIQQIIQQQQII")


def write_qcow2(plan: GraftPlan, target: Path) -> Written:
    """Write an overlay file that shows the image. Raises MediaError as `write_file` does."""
    real = check_target(plan, target)
    with plan.open() as image, unnamed(real, plan.mode) as (fd, publish):
        try:
            written = _Overlay(plan, image, fd).write()
        except OSError as error:
            raise no_room(error, real, plan.written) from None
        check_unchanged(plan)
        publish()
    return Written(real, plan.size, "overlay", written)


class _Overlay:
    def __init__(self, plan: GraftPlan, image: PlannedImage, fd: int) -> None:
        self.plan, self.image, self.fd = plan, image, fd
        backing = os.fsencode(plan.source.path)
        if len(backing) > 1023:
            raise MediaError("the source's path is too long for a qcow2 file", hint="move it to a shorter one")
        self.backing = backing
        self.size = -(-plan.size // 512) * 512
        self.tables: dict[int, list[int]] = {}
        self.l1_entries = max(1, -(-self.size // (CLUSTER * PER_TABLE)))
        self.l1_clusters = -(-self.l1_entries * 8 // CLUSTER)
        self.next = 1 + self.l1_clusters

    def write(self) -> int:
        for start, end in self._differing():
            self._data(start, end)
        l1 = [0] * self.l1_entries
        for number, table in sorted(self.tables.items()):
            l1[number] = self._claim() | _COPIED
            self._put(l1[number] & ~_COPIED, struct.pack(f">{PER_TABLE}Q", *table))
        write_all(self.fd, struct.pack(f">{len(l1)}Q", *l1), CLUSTER)
        table_at, clusters = self._refcounts()
        write_all(self.fd, self._header(table_at, clusters), 0)
        os.ftruncate(self.fd, self.next * CLUSTER)
        return self.next * CLUSTER

    def _differing(self) -> Iterator[tuple[int, int]]:
        """Ranges of clusters, in order and apart, that the source does not show right."""
        first = last = -1
        for segment in self.image.segments:
            if _is_source(segment) or (segment.payload is None and segment.offset >= self.plan.source.size):
                continue
            start, end = segment.offset // CLUSTER, -(-segment.end // CLUSTER)
            if start > last:
                if first >= 0:
                    yield first, last
                first = start
            last = max(last, end)
        if first >= 0:
            yield first, last

    def _data(self, start: int, end: int) -> None:
        """Write clusters from `start` to `end`; those of zeros are only marked."""
        pending, at = bytearray(), start
        for piece in self.image.pieces(start * CLUSTER, min(end * CLUSTER, self.plan.size)):
            pending += piece
            whole = len(pending) // CLUSTER
            self._clusters(at, bytes(pending[: whole * CLUSTER]))
            del pending[: whole * CLUSTER]
            at += whole
        if pending:
            self._clusters(at, bytes(pending).ljust(CLUSTER, b"\0"))

    def _clusters(self, first: int, data: bytes) -> None:
        zeros = bytes(CLUSTER)
        for place in range(len(data) // CLUSTER):
            piece = data[place * CLUSTER : (place + 1) * CLUSTER]
            number = first + place
            if piece == zeros:
                self._enter(number, _ZERO if number * CLUSTER < self.plan.source.size else 0)
            else:
                at = self._claim()
                self._put(at, piece)
                self._enter(number, at | _COPIED)

    def _enter(self, number: int, entry: int) -> None:
        table = self.tables.setdefault(number // PER_TABLE, [0] * PER_TABLE)
        table[number % PER_TABLE] = entry

    def _claim(self) -> int:
        self.next += 1
        return (self.next - 1) * CLUSTER

    def _put(self, at: int, data: bytes) -> None:
        write_all(self.fd, data, at)

    def _refcounts(self) -> tuple[int, int]:
        """Write refcounts of 16 bits for every cluster, their own included: (place of the table, its clusters)."""
        per_block = CLUSTER // 2
        blocks = table = 0
        while True:
            total = self.next + blocks + table
            need = -(-total // per_block)
            need_table = -(-need * 8 // CLUSTER)
            if (need, need_table) == (blocks, table):
                break
            blocks, table = need, need_table
        first = self.next
        total = first + blocks + table
        self.next = total
        counts = struct.pack(">H", 1) * total + bytes(blocks * CLUSTER - 2 * total)
        self._put(first * CLUSTER, counts)
        places = struct.pack(f">{blocks}Q", *((first + n) * CLUSTER for n in range(blocks)))
        self._put((first + blocks) * CLUSTER, places.ljust(table * CLUSTER, b"\0"))
        return (first + blocks) * CLUSTER, table

    def _header(self, refcounts: int, refcount_clusters: int) -> bytes:
        extensions = struct.pack(">II", _BACKING_FORMAT, 3) + b"raw".ljust(8, b"\0") + bytes(8)
        backing_at = _HEADER.size + len(extensions)
        head = _HEADER.pack(
            b"QFI\xfb", 3, backing_at, len(self.backing), CLUSTER_BITS, self.size, 0, self.l1_entries, CLUSTER,
            refcounts, refcount_clusters, 0, 0, 0, 0, 0, 4, _HEADER.size,
        )  # fmt: skip
        return (head + extensions + self.backing).ljust(CLUSTER, b"\0")


def _is_source(segment: Segment) -> bool:
    return segment.payload == SourcePart(segment.offset)
