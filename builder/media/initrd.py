"""Initial RAM disks: what they are packed with, a cpio archive of our own, and how both become one that is read whole.

The kernel takes any row of archives, each plain or packed, with zeros between (its buffer-format document); a plain
one must start at a multiple of 4. Boot loaders are less kind, which `overlay_place` knows:
- mboot.c32 and GRUB's module commands unpack a gzip (GRUB: also xz, lzo) module and lose what follows the first
  stream. A plain archive in front hides the packed one from them, and they pass the file on as it is.
- the kernel's lz4 and lzo readers take all that follows as more of their own stream, so nothing may follow them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from builder.media.errors import MediaError
from builder.media.view import CLONE_GRAIN

Packing = Literal["cpio", "gzip", "bzip2", "xz", "lzma", "zstd", "lz4", "lzo", "unknown"]
Place = Literal["behind", "in front", "guarded"]
_MAGIC: tuple[tuple[bytes, Packing], ...] = (
    (b"070701", "cpio"), (b"070702", "cpio"), (b"\x1f\x8b", "gzip"), (b"\x1f\x9e", "gzip"), (b"BZh", "bzip2"),
    (b"\xfd7zXZ\0", "xz"), (b"\x5d\0\0", "lzma"), (b"\x28\xb5\x2f\xfd", "zstd"), (b"\x02\x21\x4c\x18", "lz4"),
    (b"\x04\x22\x4d\x18", "lz4"), (b"\x89LZO\0\r\n\x1a\n", "lzo"),
)  # fmt: skip
Reader = Callable[[int, int], bytes]
_MEMBERS_LOOKED_AT = 64
_UNPACKED_BY_MODULE_LOADERS = ("gzip", "xz", "lzo", "lzma")


@dataclass(frozen=True, slots=True)
class OverlayFile:
    """A file in the initial RAM disk. `mode` is the permission bits; folders on the way are made. `secret`: the image
    is then its owner's alone to read, whatever the file's mode is inside."""

    path: str
    content: bytes
    mode: int = 0o644
    secret: bool = False


def packing(head: bytes) -> Packing:
    """What an initrd is packed with, from its first bytes."""
    return next((name for magic, name in _MAGIC if head.startswith(magic)), "unknown")


def archive(files: Iterable[OverlayFile]) -> bytes:
    """A newc cpio archive owned by root, its times zero, so that the same files give the same bytes.

    Raises MediaError for paths that are not inside the archive, and for the same path twice.
    """
    wanted = {}
    for file in files:
        names = [part for part in file.path.split("/") if part not in ("", ".")]
        if not names or ".." in names or "\0" in file.path:
            raise MediaError(f"{file.path!r} is no path for a file in an initrd", hint="write it from the root")
        path = "/".join(names)
        if path in wanted:
            raise MediaError(f"/{path} is put into the initrd twice", hint="name each file once")
        wanted[path] = file
    folders = {path.rsplit("/", depth)[0] for path in wanted for depth in range(1, path.count("/") + 1)}
    both = sorted(folders & set(wanted))
    if both:
        raise MediaError(f"/{both[0]} is a file and a folder at once", hint="name one of them differently")
    out = bytearray()
    for number, path in enumerate(sorted({*wanted, *folders}), 1):
        file_ = wanted.get(path)
        mode, content = (0o040755, b"") if file_ is None else (0o100000 | file_.mode, file_.content)
        out += _member(path, number, mode, content)
    return bytes(out + _member("TRAILER!!!", 0, 0, b""))


def _member(path: str, number: int, mode: int, content: bytes) -> bytes:
    name = path.encode("utf-8", "surrogateescape") + b"\0"
    links = 2 if mode & 0o040000 and not mode & 0o100000 else 1
    fields = (number, mode, 0, 0, links, 0, len(content), 0, 0, 0, 0, len(name), 0)
    head = b"070701" + b"".join(b"%08X" % value for value in fields) + name
    return head + bytes(-len(head) % 4) + content + bytes(-len(content) % 4)


def members(data: bytes) -> Iterator[OverlayFile]:
    """The plain files of a newc archive that is not packed, up to its trailer. Raises MediaError for anything else."""
    at = 0
    while True:
        head = data[at : at + 110]
        try:
            mode, length, name_length = (int(head[place : place + 8], 16) for place in (14, 54, 94))
        except ValueError:
            mode = length = name_length = -1
        body = -(-(at + 110 + name_length) // 4) * 4
        if head[:6] != b"070701" or name_length < 1 or length < 0 or body + length > len(data):
            raise MediaError("this is no cpio archive as initial RAM disks have it", hint="unpack it with cpio to see")
        name = data[at + 110 : at + 110 + name_length - 1].decode("utf-8", "surrogateescape")
        if name == "TRAILER!!!":
            return
        if mode & 0o170000 == 0o100000:
            yield OverlayFile(name, data[body : body + length], mode & 0o7777)
        at = -(-(body + length) // 4) * 4


def guard() -> bytes:
    """An archive with nothing in it, to stand before a packed one. Its length keeps blocks shareable."""
    return _member("TRAILER!!!", 0, 0, b"").ljust(CLONE_GRAIN, b"\0")


def layers(read: Reader, size: int) -> tuple[Packing, Packing]:
    """What an initrd begins with, and what its first packed archive is (the same, when it is packed as a whole).

    Distributions put a small plain archive with microcode in front of the packed one. `read(offset, length)` gives
    at most `length` bytes.
    """
    first, packed, _at = _walk(read, size)
    return first, packed


def packed_at(read: Reader, size: int) -> int:
    """Where the first packed archive begins; 0 when there is none."""
    return _walk(read, size)[2]


def _walk(read: Reader, size: int) -> tuple[Packing, Packing, int]:
    first = packing(read(0, 16))
    at, kind = 0, first
    for _ in range(_MEMBERS_LOOKED_AT):
        if kind != "cpio":
            return first, kind, at
        head = read(at, 110 + 256)
        try:
            length, name_length = int(head[54:62], 16), int(head[94:102], 16)
        except ValueError:
            return first, "unknown", 0
        body = -(-(at + 110 + name_length) // 4) * 4
        at = -(-(body + length) // 4) * 4
        if head[110 : 110 + name_length].startswith(b"TRAILER!!!"):
            while at < size and not (piece := read(at, 4096)).strip(b"\0"):
                at += max(len(piece), 1)
            if at >= size:
                break
            at += len(piece) - len(piece.lstrip(b"\0"))
        if at >= size:
            break
        kind = packing(read(at, 16))
    return first, "cpio", 0


def overlay_place(first: Packing, packed: Packing, *, module: bool) -> Place:
    """Where an overlay goes, by what `layers` told. `module`: some loader hands this initrd on as a hypervisor's
    module."""
    if packed in ("lz4", "lzo"):
        return "in front"
    if module and first in _UNPACKED_BY_MODULE_LOADERS:
        return "guarded"
    return "behind"
