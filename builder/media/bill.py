"""What was put into a medium, as a bill of materials that other programs read: CycloneDX 1.6 in JSON.

The medium is the component that the bill is about, the vendor's is its ancestor, and the parts are the files that
differ from it, down to those inside an initial RAM disk or a FAT boot image. Names and digests only: no content.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import builder
from builder.media.boot import fat_images
from builder.media.compare import Comparison
from builder.media.errors import MediaError
from builder.media.fat import Fat
from builder.media.initrd import members
from builder.media.medium import Medium, open_medium
from builder.media.plan import GraftPlan, opened
from builder.media.view import CLONE_GRAIN, Readable, in_pieces

FORMAT, VERSION = "CycloneDX", "1.6"
SCHEMA = "http://cyclonedx.org/schema/bom-1.6.schema.json"
_ARCHIVE_MAX = 64 << 20
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Image:
    """A whole medium: the last part of its path, its size in bytes, its SHA-256 in hex."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Injected:
    """A file that differs from the vendor's. `how`: added, changed, or in the initrd, in the boot image. `parts` are
    the files of the archive that it holds, or that was put behind what it held before."""

    path: str
    how: str
    size: int
    sha256: str
    parts: tuple[Injected, ...] = ()


def digest(what: Path | GraftPlan, *, name: str = "", progress: Progress | None = None) -> Image:
    """The digest of a medium, be it a file or only a plan, read once from end to end. `progress` is told (bytes read,
    bytes to read). Raises MediaError when it cannot be read."""
    sum_ = hashlib.sha256()
    with opened(what) as source:
        done = 0
        for piece in in_pieces(source.read, 0, source.size):
            sum_.update(piece)
            done += len(piece)
            if progress is not None:
                progress(done, source.size)
        return Image(name or source.path.name, source.size, sum_.hexdigest())


def changed_paths(found: Comparison) -> tuple[str, ...]:
    """Paths that a comparison tells to be new or changed, each once however many trees show it."""
    return tuple(sorted({item.partition(":")[2] for item in (*found.added, *found.changed)}))


def injected(source: Path | GraftPlan, output: Path | GraftPlan, paths: Iterable[str]) -> tuple[Injected, ...]:
    """What the files at `paths` of the output are, and what its FAT boot images hold that the source's do not.

    A path that only another tree shows is left out: its file is listed under its best name. Raises MediaError when
    either is no sound medium.
    """
    with opened(source) as one, opened(output) as two:
        before, after = open_medium(one), open_medium(two)
        found = [item for path in paths for item in _file(before, after, path)]
        found += _in_boot_images(before, after)
    return tuple(sorted(found, key=lambda item: item.path))


def cyclonedx(source: Image, output: Image, files: Iterable[Injected], *, when: str = "") -> dict[str, object]:
    """The bill as plain data for JSON. `when` is a time in ISO 8601, left out when empty: equal media then give equal
    bills. Pure."""
    about: dict[str, object] = {
        "tools": {"components": [{"type": "application", "name": "nestlab", "version": builder.__version__}]},
        "component": _image(output) | {"pedigree": {"ancestors": [_image(source)]}},
    }
    return {
        "$schema": SCHEMA,
        "bomFormat": FORMAT,
        "specVersion": VERSION,
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, f'{source.sha256}:{output.sha256}')}",
        "version": 1,
        "metadata": {"timestamp": when, **about} if when else about,
        "components": [_component(item, str(number)) for number, item in enumerate(files, 1)],
    }


def _image(image: Image) -> dict[str, object]:
    return {
        "type": "file",
        "bom-ref": f"sha256:{image.sha256}",
        "name": image.name,
        "mime-type": "application/x-iso9660-image",
        "hashes": [{"alg": "SHA-256", "content": image.sha256}],
        "properties": [{"name": "nestlab:size", "value": str(image.size)}],
    }


def _component(item: Injected, number: str) -> dict[str, object]:
    # Two boot images may hold files of one path: the number keeps references apart.
    out: dict[str, object] = {
        "type": "file",
        "bom-ref": f"{number}:{item.path}",
        "name": item.path,
        "hashes": [{"alg": "SHA-256", "content": item.sha256}],
        "properties": [{"name": "nestlab:how", "value": item.how}, {"name": "nestlab:size", "value": str(item.size)}],
    }
    if item.parts:
        out["components"] = [_component(part, f"{number}.{place}") for place, part in enumerate(item.parts, 1)]
    return out


def _file(before: Medium, after: Medium, path: str) -> Iterator[Injected]:
    hit = after.best.find(path)
    pieces = after.data(path)
    if hit is None or pieces is None:
        return
    old = before.data(path)
    sum_ = hashlib.sha256()
    for piece in _bytes(after.view.source, pieces):
        sum_.update(piece)
    size = sum(length for _at, length in pieces)
    how = "added" if old is None else "changed"
    yield Injected(path, how, size, sum_.hexdigest(), tuple(_packed(before, after, old or [], pieces)))


def _packed(
    before: Medium, after: Medium, old: list[tuple[int, int]], new: list[tuple[int, int]]
) -> Iterator[Injected]:
    """The files of archives of ours: the whole of a new file, or what stands around the old content."""
    length, size = (sum(count for _at, count in pieces) for pieces in (old, new))
    if not 0 < size - length <= _ARCHIVE_MAX:
        return
    ours = [(0, size)]
    if length:
        leads = [lead for lead in (0, CLONE_GRAIN, size - length) if lead + length <= size]
        lead = next((at for at in leads if _holds(after.view.source, new, at, before.view.source, old)), None)
        if lead is None:
            return
        ours = [(0, lead), (-(-(lead + length) // 4) * 4, size)]
    for start, end in ours:
        try:
            for file in members(b"".join(_bytes(after.view.source, new, start, end - start))) if start < end else ():
                sha256 = hashlib.sha256(file.content).hexdigest()
                yield Injected(f"/{file.path}", "in the initrd", len(file.content), sha256)
        except MediaError:
            continue  # no archive, or one that is not ours


def _holds(whole: Readable, pieces: list[tuple[int, int]], at: int, part: Readable, old: list[tuple[int, int]]) -> bool:
    """Whether a file has the bytes of another at an offset."""
    for piece in _bytes(part, old):
        if b"".join(_bytes(whole, pieces, at, len(piece))) != piece:
            return False
        at += len(piece)
    return True


def _bytes(source: Readable, pieces: list[tuple[int, int]], skip: int = 0, limit: int | None = None) -> Iterator[bytes]:
    """A file's bytes from `skip` on, at most `limit` of them, a mebibyte at a time."""
    left = sum(length for _at, length in pieces) - skip if limit is None else limit
    for at, length in pieces:
        if skip >= length:
            skip -= length
            continue
        count = min(length - skip, left)
        yield from in_pieces(source.read, at + skip, count)
        left -= count
        skip = 0


def _in_boot_images(before: Medium, after: Medium) -> Iterator[Injected]:
    """Menus of the FAT boot images that are not as they were. Images are told apart by their order."""
    for (_at, old), (_new_at, new) in zip(fat_images(before), fat_images(after), strict=False):
        was = dict(_digests(old))
        for path, (size, sha256) in _digests(new):
            if was.get(path) != (size, sha256):
                yield Injected(path, "in the boot image", size, sha256)


def _digests(fat: Fat) -> Iterator[tuple[str, tuple[int, str]]]:
    for file in fat.walk():
        data = fat.content(file, limit=_ARCHIVE_MAX)
        yield file.path, (file.size, hashlib.sha256(data).hexdigest())
