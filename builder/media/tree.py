"""One directory tree of a volume, indexed by extent: what lies where, under which names, with all its hard links."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from builder.media.errors import MediaError, damaged
from builder.media.iso9660 import (
    DIRECTORY,
    MORE_SECTIONS,
    Record,
    RockRidge,
    check_name,
    entries,
    joliet_name,
    parse_records,
    plain_name,
    rock_ridge,
)
from builder.media.view import SECTOR, View

Kind = Literal["plain", "rock ridge", "joliet", "enhanced"]
MAX_DIR = 32 << 20
MAX_ALL_DIRS = 128 << 20
MAX_RECORDS = 400_000
_MENU_MAX = 1 << 16
# Extent and size of a record, each little-endian with its big-endian twin behind it.
_PLACE = struct.Struct("<I4xI")
# Whether a record's names, in bytes or in UCS-2, may end as a boot menu's does.
_LIKE_MENU = re.compile(rb"\.\0?c\0?(?:f\0?g|o\0?n)", re.IGNORECASE).search


@dataclass(slots=True, eq=False)
class Dir:
    """A directory. `extent` counts blocks from the tree's base, `size` bytes. `records` once it was looked into.

    `own` is its record in the parent's `records` (the volume descriptor's copy for the root).
    """

    parent: Dir | None
    extent: int
    size: int
    records: list[Record] | None = None
    own: Record | None = None
    dirty: bool = False
    new: bool = False
    ident: bytes = b""
    made: list[Dir] = field(default_factory=list)
    names: dict[str, Record] | None = None

    @property
    def room(self) -> int:
        """Bytes that its blocks hold."""
        return 0 if self.new else -(-self.size // SECTOR) * SECTOR


@dataclass(frozen=True, slots=True)
class Hit:
    """A record found: where it is, and where it lies in its folder's list."""

    folder: Dir
    index: int
    record: Record
    rock_ridge: RockRidge


@dataclass(slots=True)
class Index:
    """What the walk of a tree gave. `files`: extent -> (size, folder) of every record that holds data."""

    dirs: dict[int, Dir] = field(default_factory=dict)
    files: dict[int, list[tuple[int, Dir]]] = field(default_factory=dict)
    candidates: list[tuple[Dir, int]] = field(default_factory=list)
    count: int = 0
    end: int = 0


class Tree:
    """A tree as a volume descriptor roots it. Blocks are counted from `base` (in blocks) on.

    `descriptors` are all that root it: mkisofs lets the enhanced one share the primary's tree.
    """

    def __init__(self, view: View, descriptor: int, kind: Kind, base: int) -> None:
        self.view = view
        self.descriptor = descriptor
        self.descriptors = [descriptor]
        self.base = base
        vd = view.read(descriptor, SECTOR)
        if int.from_bytes(vd[128:130], "little") != SECTOR:
            raise MediaError(
                "the volume uses blocks of another size than 2048",
                hint="only blocks of 2048 bytes are made by any known installer",
            )
        self.volume_id = _text(vd[40:72], kind)
        self.space = int.from_bytes(vd[80:84], "little")
        self.skip = 0
        self._index: Index | None = None
        self.kind: Kind = kind
        root = Record(vd[156:190], descriptor + 156)
        self.root = Dir(None, root.extent, root.size, own=root)
        if kind == "plain":
            self._find_susp()

    def _find_susp(self) -> None:
        dot = self.load(self.root)[0]
        for _at, signature, entry in entries(dot.system_use()):
            # SP must come first; anything else means that the system use area is not SUSP.
            if signature == b"SP" and len(entry) >= 7 and entry[4:6] == b"\xbe\xef":
                self.kind, self.skip = "rock ridge", entry[6]
            return

    @property
    def has_names(self) -> bool:
        """Whether names are shown as they were given, not in capitals."""
        return self.kind in ("rock ridge", "joliet")

    def load(self, folder: Dir) -> list[Record]:
        """The folder's records, read once. Raises MediaError for sizes and places that cannot be."""
        if folder.records is None:
            if not 0 < folder.size <= MAX_DIR:
                raise damaged(f"a directory at block {folder.extent + self.base} claims {folder.size} bytes")
            at = (folder.extent + self.base) * SECTOR
            folder.records = parse_records(self.view.read(at, folder.size), at)
            if self._index is not None:
                self._adopt(folder, self._index)
        return folder.records

    def _adopt(self, folder: Dir, index: Index) -> None:
        for record in (folder.records or [])[2:]:
            if record.is_dir and (child := index.dirs.get(record.extent)) is not None:
                child.own = record

    def about(self, record: Record) -> RockRidge:
        if self.kind != "rock ridge":
            return RockRidge()
        return rock_ridge(record, self.skip, self.view.read, self.base)

    def name(self, record: Record, about: RockRidge | None = None) -> str:
        """The name a user sees. Raises MediaError for names that no reader should follow."""
        if self.kind == "joliet":
            return check_name(joliet_name(record.ident), record.offset)
        name = (about or self.about(record)).name
        shown = name.decode("utf-8", "surrogateescape") if name else plain_name(record.ident)
        return check_name(shown, record.offset)

    def listing(self, folder: Dir) -> Iterator[Hit]:
        """Everything in a folder but `.` and `..`; the first record stands for a file of several sections."""
        previous: bytes | None = None
        for index, record in enumerate(self.load(folder)):
            if index < 2:
                continue
            if record.ident != previous:
                yield Hit(folder, index, record, self.about(record))
            previous = record.ident if record.flags & MORE_SECTIONS else None

    def starting_at(self, folder: Dir, extent: int, size: int) -> Iterator[Hit]:
        """The files in a folder whose data starts at a block and whose first section has that size."""
        records = self.load(folder)
        for index, record in enumerate(records):
            if index < 2 or (record.extent, record.size) != (extent, size) or record.is_dir:
                continue
            before = records[index - 1]
            if not (before.flags & MORE_SECTIONS and before.ident == record.ident):
                yield Hit(folder, index, record, self.about(record))

    def child(self, folder: Dir, name: str) -> Hit | None:
        """What a folder holds under a name. Raises MediaError when any name in it is a trap."""
        record = self._names(folder).get(self._fold(name))
        if record is None:
            return None
        return Hit(folder, self.load(folder).index(record), record, self.about(record))

    def _names(self, folder: Dir) -> dict[str, Record]:
        if folder.names is None:
            folder.names = {}
            for hit in self.listing(folder):
                folder.names.setdefault(self._fold(self.name(hit.record, hit.rock_ridge)), hit.record)
        return folder.names

    def _fold(self, name: str) -> str:
        return name if self.has_names else name.upper()

    def call(self, folder: Dir, name: str, record: Record) -> None:
        """Let a record that was put into a folder be found by its name."""
        self._names(folder)[self._fold(name)] = record

    def enter(self, hit: Hit) -> Dir | None:
        """The directory that a record stands for, following Rock Ridge's relocation."""
        made = next((d for d in hit.folder.made if d.own is hit.record), None)
        if made is not None:
            # A directory made by this plan has no extent yet; its folder knows it by its record.
            return made
        if hit.rock_ridge.child is not None:
            return self.index().dirs.get(hit.rock_ridge.child)
        return self.index().dirs.get(hit.record.extent) if hit.record.is_dir else None

    def folder(self, path: str) -> Dir | None:
        """The directory at a path of the image, or None."""
        at = self.root
        for part in parts(path):
            hit = self.child(at, part)
            below = None if hit is None else self.enter(hit)
            if below is None:
                return None
            at = below
        return at

    def find(self, path: str) -> Hit | None:
        """The record at a path of the image, or None."""
        above, _, leaf = "/".join(parts(path)).rpartition("/")
        folder = self.folder(above)
        return None if folder is None or not leaf else self.child(folder, leaf)

    def sections(self, hit: Hit) -> list[tuple[int, int]]:
        """The file's data as (byte offset, length), in order."""
        out = []
        records = self.load(hit.folder)
        index = hit.index
        while True:
            record = records[index]
            if not record.plain:
                raise MediaError(
                    "a file is interleaved or has an attribute record", hint="such files are left as they are"
                )
            out.append(((record.extent + self.base) * SECTOR, record.size))
            index += 1
            if not record.flags & MORE_SECTIONS:
                return out
            if index >= len(records) or records[index].ident != record.ident:
                raise damaged(f"the file at byte {record.offset} lacks its last section")

    def index(self) -> Index:
        """The whole tree, walked once. Raises MediaError for loops and for data past the end."""
        if self._index is None:
            self._index = self._walk()
        return self._index

    def _walk(self) -> Index:
        index = Index()
        index.dirs[self.root.extent] = self.root
        todo, total = [self.root], 0
        limit = self.view.cut // SECTOR - self.base
        while todo:
            folder = todo.pop()
            total += folder.size
            if not 0 < folder.size <= MAX_DIR or total > MAX_ALL_DIRS:
                raise damaged(f"a directory at block {folder.extent + self.base} claims {folder.size} bytes")
            at = (folder.extent + self.base) * SECTOR
            for child in self._scan(folder, self.view.read(at, folder.size), index, limit):
                if child.extent in index.dirs:
                    raise damaged(f"the directory at block {child.extent + self.base} is reached twice: a loop")
                index.dirs[child.extent] = child
                todo.append(child)
        if self.root.records is not None:
            self._adopt(self.root, index)
        return index

    def _scan(self, folder: Dir, data: bytes, index: Index, limit: int) -> Iterator[Dir]:
        """One pass over a folder's bytes, names left alone: this is what a big medium's plan spends its time in."""
        at, seen, size = 0, 0, len(data)
        base = (folder.extent + self.base) * SECTOR
        files, candidates = index.files, index.candidates
        while at < size:
            length = data[at]
            if length == 0:
                at = (at // SECTOR + 1) * SECTOR
                continue
            if length < 34 or at % SECTOR + length > SECTOR or at + length > size:
                raise damaged(f"the directory at block {folder.extent + self.base} holds a broken record at {at}")
            seen += 1
            if seen > 2:
                extent, bytes_ = _PLACE.unpack_from(data, at + 2)
                end = extent + (bytes_ + SECTOR - 1) // SECTOR
                if bytes_ and end > limit:
                    raise damaged(f"a record in the directory at block {folder.extent + self.base} points past the end")
                if data[at + 25] & DIRECTORY:
                    yield Dir(folder, extent, bytes_, ident=data[at + 33 : at + 33 + data[at + 32]])
                elif bytes_:
                    files.setdefault(extent, []).append((bytes_, folder))
                    index.end = max(index.end, end)
                    if bytes_ <= _MENU_MAX and _LIKE_MENU(data, at + 33, at + length):
                        candidates.append((folder, base + at))
            at += length
        index.count += seen - 2
        if seen < 2 or index.count > MAX_RECORDS:
            raise damaged(f"the directory at block {folder.extent + self.base} lacks '.' and '..', or never ends")

    def check_names(self) -> None:
        """Look at every name once. Raises MediaError for one that no reader should follow."""
        for folder in list(self.index().dirs.values()):
            for hit in self.listing(folder):
                self.name(hit.record, hit.rock_ridge)

    def path(self, folder: Dir) -> str:
        """The folder's path, for messages; empty for the root."""
        names: list[str] = []
        at = folder
        while at.parent is not None:
            self.load(at.parent)
            names.append("?" if at.own is None else self.name(at.own))
            at = at.parent
        return "/".join(reversed(names))


def parts(path: str) -> list[str]:
    """The names of a path inside an image. Raises MediaError for `..`, which no image path needs."""
    names = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in names or "\0" in path:
        raise MediaError(
            f"{path!r} is not a path inside an image", hint="write it from the root, such as /boot/answer.xml"
        )
    return names


def _text(raw: bytes, kind: Kind) -> str:
    if kind == "joliet":
        return raw.decode("utf-16-be", "replace").rstrip(" \0")
    return raw.decode("latin-1").rstrip(" \0")
