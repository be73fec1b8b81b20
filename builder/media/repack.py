"""An initial RAM disk unpacked, given more files and packed again as it was packed: for loaders that lose what follows.

One stream comes out, so that a loader which unpacks it (mboot.c32, GRUB's modules) hands everything on. What the kernel
unpacks: gzip, bzip2, xz with CRC32 only, lzma, zstd (Linux, lib/decompress*.c).
"""

from __future__ import annotations

import bz2
import lzma
import subprocess
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import IO, Protocol

from builder.media.errors import MediaError, damaged
from builder.media.initrd import Packing
from builder.run import need

UNPACKED_MAX = 4 << 30
_STEP = 1 << 20
_FEED = 4096
"""Bytes given to an unpacker at once: what they become must fit into memory, however well they were packed."""
_ZSTD_LEVEL, _ZSTD_MEMORY = "-15", "512MB"


class _Unpacker(Protocol):
    """What the unpackers of the standard library have in common."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, /) -> bytes: ...


class _Packer(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...

    def flush(self) -> bytes: ...


_UNPACK: Mapping[Packing, Callable[[], _Unpacker]] = {
    "gzip": lambda: zlib.decompressobj(31),
    "bzip2": bz2.BZ2Decompressor,
    "xz": lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ),
    "lzma": lambda: lzma.LZMADecompressor(lzma.FORMAT_ALONE),
}
_PACK: Mapping[Packing, Callable[[], _Packer]] = {
    # gzip's own default: the Debian installer's RAM disk in a seventh of the time of level 9, and 1 % larger.
    "gzip": lambda: zlib.compressobj(6, zlib.DEFLATED, 31),
    "bzip2": bz2.BZ2Compressor,
    "xz": lambda: lzma.LZMACompressor(lzma.FORMAT_XZ, lzma.CHECK_CRC32),
    "lzma": lambda: lzma.LZMACompressor(lzma.FORMAT_ALONE),
}
KINDS: tuple[Packing, ...] = ("cpio", *_PACK, "zstd")


def repack(pieces: Iterable[bytes], kind: Packing, more: bytes) -> bytes:
    """The archive in `pieces`, packed with `kind`, with the plain archive `more` behind its content.

    Raises MediaError for a kind that is not known, for content that does not unpack or unpacks to more than 4 GiB, and
    MissingTool where zstd is not installed.
    """
    if kind not in KINDS:
        raise MediaError(f"an initrd packed with {kind} is not packed anew here", hint="leave --initrd out")
    with tempfile.TemporaryFile() as plain:
        size = _zstd("-dc", pieces, plain) if kind == "zstd" else _write(plain, _unpacked(pieces, kind))
        plain.write(bytes(-size % 4) + more)
        plain.seek(0)
        if kind != "zstd":
            return b"".join(_packed(iter(lambda: plain.read(_STEP), b""), kind))
        with tempfile.TemporaryFile() as packed:
            _zstd(_ZSTD_LEVEL, iter(lambda: plain.read(_STEP), b""), packed)
            packed.seek(0)
            return packed.read()


def _write(file: IO[bytes], pieces: Iterable[bytes]) -> int:
    size = 0
    for piece in pieces:
        size += len(piece)
        if size > UNPACKED_MAX:
            raise MediaError(
                f"the initrd unpacks to more than {UNPACKED_MAX} bytes", hint="it may be made to fill disks"
            )
        file.write(piece)
    return size


def _unpacked(pieces: Iterable[bytes], kind: Packing) -> Iterator[bytes]:
    """The content, of several streams in a row too, as the packers' own programs read them."""
    if kind == "cpio":
        yield from pieces
        return
    machine, begun = _UNPACK[kind](), False
    try:
        for rest in _fed(pieces):
            while rest:
                if machine.eof:
                    machine, begun = _UNPACK[kind](), False
                if not begun:
                    rest = rest.lstrip(b"\0")  # noqa: PLW2901 - padding between streams, and at the end
                    if not rest:
                        break
                yield machine.decompress(rest)
                begun = True
                rest = machine.unused_data if machine.eof else b""  # noqa: PLW2901
    except (zlib.error, lzma.LZMAError, OSError, EOFError) as error:
        raise damaged(f"the initrd does not unpack with {kind}: {error}") from None
    if begun and not machine.eof:
        raise damaged(f"the initrd breaks off in the middle of its {kind} stream")


def _fed(pieces: Iterable[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        for at in range(0, len(piece), _FEED):
            yield piece[at : at + _FEED]


def _packed(pieces: Iterable[bytes], kind: Packing) -> Iterator[bytes]:
    if kind == "cpio":
        yield from pieces
        return
    machine = _PACK[kind]()
    for piece in pieces:
        yield machine.compress(piece)
    yield machine.flush()


def _zstd(option: str, pieces: Iterable[bytes], target: IO[bytes]) -> int:
    """Run the program over the pieces; returns the bytes that came out. Python has no zstd of its own before 3.14."""
    program = need("zstd", why="pack an initrd as it was packed", package="zstd")
    with tempfile.TemporaryFile() as source:
        _write(source, pieces)
        source.seek(0)
        argv = [program, "-q", option, "-T0", f"--memory={_ZSTD_MEMORY}"]
        with subprocess.Popen(argv, stdin=source, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
            try:
                out = child.stdout
                assert out is not None
                size = _write(target, iter(lambda: out.read(_STEP), b""))
            except BaseException:
                child.kill()
                raise
    if child.returncode:
        raise damaged("the initrd does not unpack with zstd")
    return size
