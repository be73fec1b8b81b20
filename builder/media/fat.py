"""The FAT file system of an EFI boot image: read, and one file's content replaced in place, the image's size kept.

Only what boot images need: no files made, no directories changed but for a file's size and first cluster.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from builder.media.errors import MediaError, damaged

READ_ONLY, HIDDEN, LABEL, SUBDIRECTORY, LONG = 0x01, 0x02, 0x08, 0x10, 0x0F
MAX_CHAIN = 1 << 20
MAX_DIR_BYTES = 2 << 20
MAX_FILES = 20_000
Reader = Callable[[int, int], bytes]
Writer = Callable[[int, bytes], None]


@dataclass(frozen=True, slots=True)
class FatFile:
    """A file or directory. `entry` is the byte offset of its short directory entry in the image."""

    path: str
    entry: int
    cluster: int
    size: int
    is_dir: bool


class Fat:
    """A FAT12, FAT16 or FAT32 image whose bytes are reached through `read` and `write` (offsets from its start)."""

    def __init__(self, read: Reader, write: Writer, size: int) -> None:
        self._read, self._write = read, write
        boot = read(0, 512)
        fields: tuple[int, ...] = struct.unpack_from("<HBHBH", boot, 11)
        self.sector, per_cluster, reserved, self.copies, root_entries = fields
        total = int.from_bytes(boot[19:21], "little") or int.from_bytes(boot[32:36], "little")
        fat_sectors = int.from_bytes(boot[22:24], "little") or int.from_bytes(boot[36:40], "little")
        if (
            boot[510:512] != b"\x55\xaa"
            or self.sector not in (512, 1024, 2048, 4096)
            or per_cluster not in (1, 2, 4, 8, 16, 32, 64, 128)
            or not 1 <= self.copies <= 2
            or not reserved
            or not fat_sectors
        ):
            raise MediaError(
                "the boot image is not a FAT file system", hint="only FAT boot images can be edited inside"
            )
        if total * self.sector > size or fat_sectors * self.sector > 1 << 26:
            raise damaged("the FAT boot image claims to be larger than it is")
        self.cluster_bytes = per_cluster * self.sector
        self.fat_at = reserved * self.sector
        self.fat_bytes = fat_sectors * self.sector
        self.root_at = self.fat_at + self.copies * self.fat_bytes
        self.root_bytes = root_entries * 32
        self.data_at = self.root_at + -(-self.root_bytes // self.sector) * self.sector
        self.clusters = max(0, (total * self.sector - self.data_at) // self.cluster_bytes)
        self.bits = 12 if self.clusters < 4085 else 16 if self.clusters < 65525 else 32
        self.root_cluster = int.from_bytes(boot[44:48], "little") if self.bits == 32 else 0
        info = int.from_bytes(boot[48:50], "little") if self.bits == 32 else 0
        self.summary_at = info * self.sector if 0 < info < reserved else 0
        self._last = {12: 0xFF8, 16: 0xFFF8, 32: 0x0FFFFFF8}[self.bits]

    # -- the table

    def _entry(self, cluster: int) -> tuple[int, int]:
        """(byte offset in the table, width) of a cluster's entry."""
        return (cluster * 3 // 2, 2) if self.bits == 12 else (cluster * self.bits // 8, self.bits // 8)

    def next(self, cluster: int) -> int:
        at, width = self._entry(cluster)
        value = int.from_bytes(self._read(self.fat_at + at, width), "little")
        if self.bits == 12:
            return value >> 4 if cluster & 1 else value & 0xFFF
        return value & 0x0FFFFFFF if self.bits == 32 else value

    def _set(self, cluster: int, value: int) -> None:
        at, width = self._entry(cluster)
        old = int.from_bytes(self._read(self.fat_at + at, width), "little")
        if self.bits == 12:
            value = (old & 0x000F) | (value << 4) if cluster & 1 else (old & 0xF000) | value
        elif self.bits == 32:
            value |= old & 0xF0000000
        for copy in range(self.copies):
            self._write(self.fat_at + copy * self.fat_bytes + at, value.to_bytes(width, "little"))

    def chain(self, cluster: int, limit: int = MAX_CHAIN) -> list[int]:
        """The clusters of a file. Raises MediaError for chains that loop, leave the image or exceed `limit`."""
        out: list[int] = []
        seen = set()
        while 2 <= cluster < self._last - 7:
            if cluster >= self.clusters + 2 or cluster in seen or len(out) >= limit:
                raise damaged("a cluster chain of the FAT boot image loops or leaves it")
            seen.add(cluster)
            out.append(cluster)
            cluster = self.next(cluster)
        return out

    def _place(self, cluster: int) -> int:
        return self.data_at + (cluster - 2) * self.cluster_bytes

    # -- directories and files

    def _blocks(self, folder: FatFile | None) -> Iterator[tuple[int, bytes]]:
        if folder is None and self.bits != 32:
            yield self.root_at, self._read(self.root_at, self.root_bytes)
            return
        chain = self.chain(
            self.root_cluster if folder is None else folder.cluster, MAX_DIR_BYTES // self.cluster_bytes + 1
        )
        for cluster in chain:
            yield self._place(cluster), self._read(self._place(cluster), self.cluster_bytes)

    def listing(self, folder: FatFile | None = None) -> Iterator[FatFile]:
        """What a directory holds, long names where there are any."""
        above = "" if folder is None else folder.path
        long: dict[int, str] = {}
        for at, block in self._blocks(folder):
            for place in range(0, len(block), 32):
                raw = block[place : place + 32]
                if raw[0] == 0:
                    return
                if raw[0] == 0xE5:
                    long = {}
                elif raw[11] & LONG == LONG:
                    long[raw[0] & 0x1F] = (raw[1:11] + raw[14:26] + raw[28:32]).decode("utf-16-le", "replace")
                elif raw[11] & LABEL:
                    long = {}
                else:
                    name = "".join(long[k] for k in sorted(long)).split("\0")[0].rstrip("￿") or _short(raw)
                    long = {}
                    if name in (".", ".."):
                        continue
                    cluster = int.from_bytes(raw[26:28], "little")
                    if self.bits == 32:
                        cluster |= int.from_bytes(raw[20:22], "little") << 16
                    size = int.from_bytes(raw[28:32], "little")
                    yield FatFile(f"{above}/{name}", at + place, cluster, size, bool(raw[11] & SUBDIRECTORY))

    def walk(self) -> Iterator[FatFile]:
        """Every file of the image. Raises MediaError when a directory is reached twice, or there is no end of them."""
        todo: list[FatFile | None] = [None]
        seen: set[int] = set()
        count = 0
        while todo:
            for found in self.listing(todo.pop()):
                count += 1
                if count > MAX_FILES:
                    raise damaged("the FAT boot image holds files without end")
                if not found.is_dir:
                    yield found
                elif found.cluster in seen:
                    raise damaged("a directory of the FAT boot image is reached twice: a loop")
                else:
                    seen.add(found.cluster)
                    todo.append(found)

    def content(self, file: FatFile, limit: int = 1 << 22) -> bytes:
        """A file's bytes. Raises MediaError when it is bigger than `limit`, or than its clusters."""
        if file.size > limit:
            raise MediaError(
                f"{file.path} in the boot image has {file.size} bytes", hint="only small files are read from it"
            )
        chain = self.chain(file.cluster)
        if len(chain) * self.cluster_bytes < file.size:
            raise damaged(f"{file.path} in the FAT boot image is longer than its clusters")
        data = b"".join(self._read(self._place(c), self.cluster_bytes) for c in chain)
        return data[: file.size]

    def replace(self, file: FatFile, content: bytes) -> None:
        """Put other bytes in a file. Raises MediaError when the image has no room for them."""
        chain = self.chain(file.cluster)
        wanted = -(-len(content) // self.cluster_bytes)
        if wanted > len(chain):
            chain += self._claim(wanted - len(chain), chain[-1] if chain else None)
        for cluster in chain[wanted:]:
            self._set(cluster, 0)
        if 0 < wanted < len(chain):
            self._set(chain[wanted - 1], self._last | 7)
        for place, cluster in enumerate(chain[:wanted]):
            piece = content[place * self.cluster_bytes : (place + 1) * self.cluster_bytes]
            self._write(self._place(cluster), piece.ljust(self.cluster_bytes, b"\0"))
        first = chain[0] if wanted else 0
        self._write(file.entry + 26, (first & 0xFFFF).to_bytes(2, "little") + len(content).to_bytes(4, "little"))
        if self.bits == 32:
            self._write(file.entry + 20, (first >> 16).to_bytes(2, "little"))
        if self.summary_at and self._read(self.summary_at, 4) == b"RRaA":
            # The count of free clusters is only a hint; all ones say that it is not known.
            self._write(self.summary_at + 488, b"\xff" * 8)

    def _claim(self, count: int, tail: int | None) -> list[int]:
        free = []
        for cluster in range(2, self.clusters + 2):
            if self.next(cluster) == 0:
                free.append(cluster)
                if len(free) == count:
                    break
        else:
            raise MediaError(
                "the FAT boot image has no room for the longer file", hint="shorten what is added to its menu"
            )
        for cluster, following in zip(free, [*free[1:], self._last | 7], strict=True):
            self._set(cluster, following)
        if tail is not None:
            self._set(tail, free[0])
        return free


def _short(raw: bytes) -> str:
    base, ext = raw[:8].decode("latin-1").rstrip(), raw[8:11].decode("latin-1").rstrip()
    # Bits of byte 12 say that a part is shown in small letters.
    base = base.lower() if raw[12] & 0x08 else base
    ext = ext.lower() if raw[12] & 0x10 else ext
    return f"{base}.{ext}" if ext else base
