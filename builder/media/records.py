"""Making directory records: identifiers that a tree's own style allows, and the Rock Ridge entries beside them."""

from __future__ import annotations

import re
import stat
from dataclasses import dataclass, field

from builder.media.errors import MediaError
from builder.media.iso9660 import DIRECTORY, Record, both16, both32, entries
from builder.media.tree import Dir, Tree
from builder.media.view import SECTOR

RECORD_MAX = 254
_CONTINUES = 0x01
_SMALL = re.compile(rb"[a-z]")
_JOLIET_BAD = "*/:;?\\"


@dataclass(slots=True)
class Maker:
    """Makes records for one tree. `stamp` is the seven bytes of a record's date."""

    tree: Tree
    stamp: bytes
    _spill: int = -1
    _spilled: int = 0
    _serial: int = 0x70000000
    _taken: dict[int, set[bytes]] = field(default_factory=dict)

    def record(self, folder: Dir, name: str, *, mode: int, sections: list[tuple[int, int]]) -> list[Record]:
        """The records of a new file or directory, one for each (block, size). Blocks count from the tree's base."""
        is_dir = stat.S_ISDIR(mode)
        ident = self._ident(folder, name, is_dir)
        use = self._rock_ridge(folder, name, mode, len(ident)) if self.tree.kind == "rock ridge" else b""
        out = []
        for place, (block, size) in enumerate(sections):
            flags = (DIRECTORY if is_dir else 0) | (0x80 if place + 1 < len(sections) else 0)
            out.append(self._record(block, size, flags, ident, use))
        return out

    def dots(self, parent: Dir) -> list[Record]:
        """`.` and `..` of a new directory; their places are filled in when they are known."""
        use = bytes(self.tree.skip) + self._px(parent, stat.S_IFDIR | 0o555) + self._tf() if self._rr else b""
        return [self._record(0, 0, DIRECTORY, ident, use) for ident in (b"\0", b"\1")]

    @property
    def _rr(self) -> bool:
        return self.tree.kind == "rock ridge"

    def _record(self, block: int, size: int, flags: int, ident: bytes, use: bytes) -> Record:
        body = (
            both32(block) + both32(size) + self.stamp + bytes((flags, 0, 0)) + both16(1) + bytes((len(ident),)) + ident
        )
        body += (b"" if len(ident) % 2 else b"\0") + use
        length = (2 + len(body) + 1) // 2 * 2
        if length > 255:
            raise MediaError("a name does not fit into a directory record", hint="use a shorter file name")
        return Record((bytes((length, 0)) + body).ljust(length, b"\0"), -1)

    # -- identifiers

    def _ident(self, folder: Dir, name: str, is_dir: bool) -> bytes:
        if self.tree.kind == "joliet":
            return self._joliet(folder, name, is_dir)
        siblings = self._siblings(folder)
        version = b"" if is_dir or not self._versions(folder, b";1") else b";1"
        if self.tree.kind == "enhanced" or self._relaxed(folder):
            plain = name.encode("latin-1", "replace").replace(b"/", b"_").replace(b";", b"_")[:196]
            return _unique(plain, b"", siblings, 196) + version
        limit = (27, 3) if not self._rr and max(map(len, siblings), default=0) > 12 else (8, 3)
        base, dot, ext = name.rpartition(".")
        if not dot or not base or is_dir:
            base, ext = name, ""
        stem = _capital(base)[: limit[0]] or b"_"
        suffix = _capital(ext)[: limit[1]]
        found = _unique(stem, b"." + suffix if suffix else b"", siblings, limit[0])
        return found if is_dir else (found if suffix else found + b".") + version

    def _joliet(self, folder: Dir, name: str, is_dir: bool) -> bytes:
        version = "" if is_dir or not self._versions(folder, ";1".encode("utf-16-be")) else ";1"
        clean = "".join("_" if c in _JOLIET_BAD or ord(c) < 32 else c for c in name)
        units = clean.encode("utf-16-be", "replace")[: 2 * 103].decode("utf-16-be", "ignore")
        taken = self._siblings(folder)
        stem, number = units, 0
        while units.encode("utf-16-be") in taken:
            number += 1
            units = f"{stem[: 103 - len(str(number))]}{number}"
        taken.add(units.encode("utf-16-be"))
        return (units + version).encode("utf-16-be")

    def _siblings(self, folder: Dir) -> set[bytes]:
        """Identifiers in a folder without their versions; what is made here is added as it is made."""
        taken = self._taken.get(id(folder))
        if taken is None:
            idents = (r.ident for r in self.tree.load(folder)[2:])
            if self.tree.kind == "joliet":
                taken = {ident.partition(b"\0;")[0] for ident in idents}
            else:
                taken = {ident.partition(b";")[0].rstrip(b".").upper() for ident in idents}
            self._taken[id(folder)] = taken
        return taken

    def _versions(self, folder: Dir, ending: bytes) -> bool:
        """Whether files carry a version here; where none tell, whether the root's do; else as mkisofs does."""
        for place in (folder, self.tree.root):
            found = next((r.ident for r in self.tree.load(place)[2:] if not r.is_dir), None)
            if found is not None:
                return found.endswith(ending)
        return self.tree.kind != "enhanced"

    def _relaxed(self, folder: Dir) -> bool:
        """Whether small letters stand in identifiers: then names are put in as they are."""
        places = (folder, self.tree.root)
        return any(_SMALL.search(r.ident) is not None for place in places for r in self.tree.load(place)[2:])

    # -- Rock Ridge

    def _rock_ridge(self, folder: Dir, name: str, mode: int, ident_length: int) -> bytes:
        raw = name.encode("utf-8", "surrogateescape")
        if len(raw) > 255:
            raise MediaError(f"the name {name[:40]}... has {len(raw)} bytes", hint="a name may have 255 bytes")
        lead = bytes(self.tree.skip) + self._px(folder, mode) + self._tf()
        if self._has(folder, b"RR"):
            lead += b"RR\x05\x01\x89"
        start = 33 + ident_length + (1 - ident_length % 2) + len(lead)
        room = RECORD_MAX - start
        if len(raw) + 5 <= room:
            return lead + bytes((0x4E, 0x4D, len(raw) + 5, 1, 0)) + raw
        first = raw[: room - 28 - 5]
        rest = raw[len(first) :]
        tail = b"".join(
            b"NM"
            + bytes((len(rest[at : at + 250]) + 5, 1, _CONTINUES if at + 250 < len(rest) else 0))
            + rest[at : at + 250]
            for at in range(0, len(rest), 250)
        )
        block, place = self._continuation(tail)
        onward = b"CE\x1c\x01" + both32(block) + both32(place) + both32(len(tail))
        return lead + b"NM" + bytes((len(first) + 5, 1, _CONTINUES)) + first + onward

    def _continuation(self, data: bytes) -> tuple[int, int]:
        """Put bytes into a continuation area: (block from the tree's base, offset in it)."""
        view = self.tree.view
        if self._spill < 0 or self._spilled + len(data) > SECTOR:
            self._spill, self._spilled = view.allocate(SECTOR), 0
        at = self._spilled
        view.patch(self._spill + at, data)
        self._spilled += len(data)
        return self._spill // SECTOR - self.tree.base, at

    def _has(self, folder: Dir, wanted: bytes) -> bool:
        return any(
            s == wanted for r in self.tree.load(folder)[:3] for _at, s, _e in entries(r.system_use(self.tree.skip))
        )

    def _px(self, folder: Dir, mode: int) -> bytes:
        """POSIX attributes in the form (36 or 44 bytes) that the folder's other records have."""
        long = True
        for record in self.tree.load(folder)[:3]:
            for _at, signature, entry in entries(record.system_use(self.tree.skip)):
                if signature == b"PX":
                    long = len(entry) >= 44
        self._serial += 1
        links = 2 if stat.S_ISDIR(mode) else 1
        fields = both32(mode) + both32(links) + both32(0) + both32(0) + (both32(self._serial) if long else b"")
        return b"PX" + bytes((4 + len(fields), 1)) + fields

    def _tf(self) -> bytes:
        return b"TF\x1a\x01\x0e" + self.stamp * 3


def _capital(text: str) -> bytes:
    return "".join(c if c.isascii() and (c.isalnum() or c == "_") else "_" for c in text.upper()).encode()


def _unique(stem: bytes, suffix: bytes, taken: set[bytes], limit: int) -> bytes:
    candidate, number = stem + suffix, 0
    while candidate.upper() in taken:
        number += 1
        candidate = stem[: limit - len(str(number))] + str(number).encode() + suffix
    taken.add(candidate.upper())
    return candidate


def bump_links(record: Record, skip: int) -> None:
    """One more sub-folder in the POSIX link count of a folder's record, where the medium keeps it."""
    for at, signature, entry in entries(record.system_use(skip)):
        if signature == b"PX" and len(entry) >= 36:
            links = int.from_bytes(entry[12:16], "little")
            if links >= 2:
                start = record.susp_start + skip + at + 12
                record.raw[start : start + 8] = both32(links + 1)
