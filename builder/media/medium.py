"""A medium taken apart: its volumes, trees, boot records and partitions, each with the place where it is written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from builder.media.eltorito import SIGNATURE, BootImage, read_catalog
from builder.media.errors import MediaError, damaged
from builder.media.partitions import UNIT, SystemArea, read_system_area
from builder.media.tree import Hit, Kind, Tree, parts
from builder.media.view import SECTOR, Readable, View

MAX_DESCRIPTORS = 64
APPLICATION_USE = 883
JOLIET = (b"%/@", b"%/C", b"%/E")
MAX_SMALL = 4 << 20


@dataclass(slots=True)
class Medium:
    """`trees` lists the first volume's trees and then those of volumes that start inside a partition."""

    view: View
    trees: list[Tree]
    catalogs: tuple[int, ...]
    boot_images: tuple[BootImage, ...]
    system_area: SystemArea
    udf: bool
    hfs: bool

    @property
    def best(self) -> Tree:
        """The tree whose names come nearest to what was put on the medium."""
        first = [t for t in self.trees if t.base == 0]
        order: tuple[Kind, ...] = ("rock ridge", "joliet", "enhanced", "plain")
        return min(first, key=lambda tree: order.index(tree.kind))

    @property
    def primary(self) -> int:
        """Byte offset of the primary volume descriptor."""
        return self.trees[0].descriptor

    @property
    def cut(self) -> int:
        """Where new data is put in: behind all that the volumes hold, before backup table and appended partitions."""
        ends = [(t.space + t.base) * SECTOR for t in self.trees if t.space] + [self.view.source.size // SECTOR * SECTOR]
        gpt = self.system_area.gpt
        if gpt is not None and self.system_area.backup is not None:
            ends.append((self.system_area.backup - gpt.table_sectors) * UNIT // SECTOR * SECTOR)
        return min(ends)

    def find(self, path: str) -> Hit | None:
        """A file or directory by its path, in the best tree; the others are asked when it is not there."""
        for tree in [self.best, *(t for t in self.trees if t is not self.best and t.base == 0)]:
            hit = tree.find(path)
            if hit is not None:
                return hit
        return None

    def tree_of(self, hit: Hit) -> Tree:
        root = hit.folder
        while root.parent is not None:
            root = root.parent
        return next(tree for tree in self.trees if tree.root is root)

    def data(self, path: str) -> list[tuple[int, int]] | None:
        """Where a file's bytes lie: (offset, length) pairs; None when there is no such file."""
        hit = self.find(path)
        if hit is None or hit.record.is_dir or hit.rock_ridge.child is not None or hit.rock_ridge.link:
            return None
        return self.tree_of(hit).sections(hit)

    def file(self, path: str) -> list[tuple[int, int]]:
        """As `data`, of a file whose bytes are its content. Raises MediaError for what is none."""
        hit, pieces = self.find(path), self.data(path)
        if hit is None or pieces is None:
            raise MediaError(f"{path} is not a file on the medium", hint="look at what is there with inspect")
        if hit.rock_ridge.zisofs:
            raise MediaError(
                f"{path} is compressed by zisofs", hint="mount the medium to read it, or replace it as a whole"
            )
        return pieces

    def size(self, path: str) -> int | None:
        pieces = self.data(path)
        return None if pieces is None else sum(length for _at, length in pieces)

    def head(self, path: str, length: int) -> bytes:
        """The first bytes of a file; empty when it is not there."""
        pieces = self.data(path)
        if not pieces:
            return b""
        return self.view.read(pieces[0][0], min(length, pieces[0][1]))

    def small(self, path: str, limit: int = MAX_SMALL) -> bytes | None:
        """A whole file of at most `limit` bytes; None when it is not there. Raises MediaError when it is bigger."""
        pieces = self.data(path)
        if pieces is None:
            return None
        total = sum(length for _at, length in pieces)
        if total > limit:
            raise MediaError(f"{path} has {total} bytes, too many for what it should be", hint="name another file")
        return b"".join(self.view.read(at, length) for at, length in pieces)

    def menu_candidates(self) -> Iterator[str]:
        """Paths of small files whose names look like a boot menu's."""
        tree = self.best
        for folder, at in tree.index().candidates:
            for record in tree.load(folder):
                if record.offset == at:
                    yield "/" + "/".join(filter(None, (tree.path(folder), tree.name(record))))


def open_medium(source: Readable) -> Medium:
    """Take a medium apart. Raises MediaError for what is not ISO 9660, or contradicts itself."""
    view = View(source)
    system_area = read_system_area(view)
    trees, catalogs, udf = _volume(view, 0)
    images = [image for block in catalogs for image in read_catalog(view, block)]
    for start in sorted({p.start for p in system_area.partitions if p.table != "apm" and p.start and p.start % 4 == 0}):
        base = start // 4
        at = (base + 16) * SECTOR
        if at + SECTOR <= source.size and source.read(at, 6) == b"\1CD001" and base < 1 << 20:
            trees += _volume(view, base)[0]
    hfs = view.read(1024, 2) in (b"H+", b"HX", b"BD")
    return Medium(view, trees, tuple(catalogs), tuple(images), system_area, udf, hfs)


def _volume(view: View, base: int) -> tuple[list[Tree], list[int], bool]:
    """One volume descriptor set: its trees, boot catalogs (blocks), and whether UDF descriptors follow."""
    trees: list[Tree] = []
    catalogs: list[int] = []
    for block in range(16 + base, 16 + base + MAX_DESCRIPTORS):
        at = block * SECTOR
        head = view.read(at, SECTOR) if at + SECTOR <= view.source.size else b""
        if head[1:6] != b"CD001":
            if not trees:
                raise MediaError(
                    f"{view.source.path} is not an ISO 9660 image", hint="name an installation ISO, not a disk image"
                )
            raise damaged(f"{view.source.path}: the volume descriptors break off at block {block}")
        if head[0] == 255:
            break
        if head[0] == 1:
            if trees:
                raise damaged(f"{view.source.path}: a second primary volume descriptor at block {block}")
            trees.append(Tree(view, at, "plain", base))
        elif head[0] == 2 and trees:
            tree = Tree(view, at, "joliet" if head[88:91] in JOLIET else "enhanced", base)
            if tree.root.extent == trees[0].root.extent:
                trees[0].descriptors.append(at)
            else:
                trees.append(tree)
        elif head[0] == 0 and head[7:30] == SIGNATURE:
            catalogs.append(int.from_bytes(head[71:75], "little"))
    else:
        raise damaged(f"{view.source.path}: the volume descriptors never end")
    if not trees:
        raise damaged(f"{view.source.path} has no primary volume descriptor")
    return trees, catalogs, _has_udf(view, block + 1)


def _has_udf(view: View, block: int) -> bool:
    for at in range(block * SECTOR, min((block + 4) * SECTOR, view.source.size - SECTOR), SECTOR):
        if view.read(at, 6)[1:6] in (b"BEA01", b"NSR02", b"NSR03"):
            return True
    return False


def image_path(path: str) -> str:
    """The one spelling of a path inside an image: /a/b."""
    return "/" + "/".join(parts(path))
