"""What a medium is, in one report."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from builder.media.boot import Initrd, Menu, find_initrds, find_menus
from builder.media.eltorito import BootImage
from builder.media.implanted import implanted_md5
from builder.media.manifests import NAMES, listed
from builder.media.medium import Medium, open_medium
from builder.media.partitions import Partition
from builder.media.plan import GraftPlan, opened
from builder.media.recognise import Installer, recognise
from builder.media.view import SECTOR

_CHECKED = 32
_CHECKED_SIZE = 1 << 14


@dataclass(frozen=True, slots=True)
class TreeReport:
    """A directory tree: `entries` are its files and folders, `base` the block its numbers count from."""

    kind: str
    volume_id: str
    base: int
    blocks: int
    entries: int


@dataclass(frozen=True, slots=True)
class ManifestReport:
    """A list of checksums. `stale` are files that it tells wrongly, of the small ones that were `checked`."""

    path: str
    files: int
    checked: int
    stale: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MediumReport:
    """Sizes in bytes, partitions in 512-byte sectors, boot images in 2048-byte blocks. `tables` names the partition
    tables found; `implanted_md5` is the digest that a media check would compare with, empty when there is none."""

    path: Path
    size: int
    volume_id: str
    installer: Installer
    trees: tuple[TreeReport, ...]
    boot_images: tuple[BootImage, ...]
    tables: tuple[str, ...]
    partitions: tuple[Partition, ...]
    menus: tuple[Menu, ...]
    initrds: tuple[Initrd, ...]
    manifests: tuple[ManifestReport, ...]
    implanted_md5: str
    udf: bool
    hfs: bool
    notes: tuple[str, ...]


def inspect(what: Path | GraftPlan) -> MediumReport:
    """Read what a medium is, or will be. Raises MediaError for what is no ISO 9660 image or is a damaged one."""
    with opened(what) as source:
        medium = open_medium(source)
        trees = tuple(
            TreeReport(t.kind, t.volume_id, t.base, t.space, t.index().count) for t in medium.trees
        )  # fmt: skip
        for tree in medium.trees:
            tree.check_names()
        menus = find_menus(medium)
        return MediumReport(
            path=source.path,
            size=source.size,
            volume_id=medium.trees[0].volume_id,
            installer=recognise(medium),
            trees=trees,
            boot_images=medium.boot_images,
            tables=_tables(medium),
            partitions=medium.system_area.partitions,
            menus=tuple(menus),
            initrds=tuple(find_initrds(medium, menus)),
            manifests=tuple(_manifests(medium)),
            implanted_md5=implanted_md5(medium.view.read(medium.primary, SECTOR)),
            udf=medium.udf,
            hfs=medium.hfs,
            notes=tuple(_notes(medium)),
        )


def installer_of(what: Path | GraftPlan) -> Installer:
    """Whose installer a medium carries. Raises MediaError for what is no ISO 9660 image."""
    with opened(what) as source:
        return recognise(open_medium(source))


def _tables(medium: Medium) -> tuple[str, ...]:
    area = medium.system_area
    found = (("mbr", area.has_mbr), ("gpt", area.gpt is not None), ("apm", bool(area.apm_unit)))
    return tuple(name for name, there in found if there)


def _manifests(medium: Medium) -> list[ManifestReport]:
    out = []
    for path in NAMES:
        size = medium.size(path)
        if not size or size > 1 << 20:
            continue
        lines = listed((medium.small(path) or b"").decode("utf-8", "replace"))
        stale, checked = [], 0
        for item in lines.values():
            if checked == _CHECKED:
                break
            pieces = medium.data(item.path)
            if pieces is None:
                stale.append(item.path)
            elif sum(length for _at, length in pieces) <= _CHECKED_SIZE:
                checked += 1
                digest = hashlib.new(item.algorithm, medium.small(item.path) or b"", usedforsecurity=False).hexdigest()
                if digest != item.digest:
                    stale.append(item.path)
        if lines:
            out.append(ManifestReport(path, len(lines), checked, tuple(stale)))
    return out


def _notes(medium: Medium) -> list[str]:
    area = medium.system_area
    notes = []
    blocks = max(tree.space + tree.base for tree in medium.trees)
    if blocks * SECTOR > medium.view.source.size:
        notes.append(f"its volume claims {blocks * SECTOR} bytes, and it has {medium.view.source.size}: cut short?")
    if area.gpt_fault:
        notes.append(f"its GUID partition table cannot be trusted: {area.gpt_fault}")
    if area.gpt is not None and area.backup is None:
        notes.append("its GUID partition table has no backup where the header says")
    if medium.udf:
        notes.append("it also holds a UDF file system, which cannot be edited")
    if medium.hfs:
        notes.append("it also holds an HFS+ file system, which is left as it is")
    return notes
