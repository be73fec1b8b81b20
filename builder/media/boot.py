"""Everything that boots from a medium: its menus, also those inside FAT boot images, and the initrds they name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from builder.media import menus
from builder.media.errors import MediaError, damaged
from builder.media.fat import Fat, FatFile
from builder.media.initrd import Packing, layers
from builder.media.medium import Medium
from builder.media.menus import Entry, Loader
from builder.media.menus.common import resolve
from builder.media.partitions import UNIT
from builder.media.view import SECTOR

_MENU_MAX = 1 << 16
_MENUS_MAX, _LOOKED_AT_MAX = 1 << 19, 8 << 20
"""Bytes of all menus, and of all files that are called like one. Vendors' menus have some ten thousand together."""
_INITRDS_MAX = 256


@dataclass(frozen=True, slots=True)
class Menu:
    """A boot menu. `image` is the byte offset of the FAT boot image that holds it, None for one in the tree."""

    path: str
    loader: Loader
    text: str
    entries: tuple[Entry, ...]
    image: int | None = None

    @property
    def folder(self) -> str:
        """Where its relative paths start."""
        return self.path.rpartition("/")[0] or "/" if self.loader == "isolinux" and self.image is None else "/"


@dataclass(frozen=True, slots=True)
class Initrd:
    """An initrd that menus name. `packing`: of its main archive. `module`: it is handed on to a hypervisor."""

    path: str
    size: int
    packing: Packing
    module: bool


def fat_images(medium: Medium) -> Iterator[tuple[int, Fat]]:
    """The FAT boot images, with the byte offset each starts at; the same one is given once."""
    seen = set()
    places = [image.block * SECTOR for image in medium.boot_images if image.platform == "UEFI"]
    places += [p.start * UNIT for p in medium.system_area.partitions if p.table != "apm"]
    limit = medium.view.source.size
    for at in places:
        if at == 0 or at in seen or at + 512 > limit:
            continue
        seen.add(at)
        try:
            yield at, fat_at(medium, at)
        except MediaError:
            continue  # a partition that holds something else


def fat_at(medium: Medium, at: int) -> Fat:
    """The FAT file system at a byte offset, reading and patching through the medium's view."""
    view = medium.view

    # A partition behind the cut will move as it is; until then it is read and patched where the source has it.
    def read(offset: int, length: int) -> bytes:
        return view.read_tail(at + offset, length) if at >= view.cut else view.read(at + offset, length)

    def write(offset: int, data: bytes) -> None:
        if at >= view.cut:
            view.patch_tail(at + offset, data)
        else:
            view.patch(at + offset, data)

    return Fat(read, write, view.source.size - at)


def find_menus(medium: Medium) -> list[Menu]:
    """Every boot menu that can be read, the tree's first. Raises MediaError when there is more than could be honest."""
    out, looked_at, told = [], 0, 0
    for path, raw, image in _candidates(medium):
        menu = _menu(path, raw, image)
        looked_at += len(raw)
        if menu is not None:
            out.append(menu)
            told += len(raw)
        if looked_at > _LOOKED_AT_MAX or told > _MENUS_MAX:
            raise damaged(f"the medium holds {looked_at} bytes in files that are called like boot menus, or more")
    return out


def _candidates(medium: Medium) -> Iterator[tuple[str, bytes, int | None]]:
    """Path, content and boot image of what is called as menus are."""
    for path in medium.menu_candidates():
        yield path, medium.small(path, _MENU_MAX) or b"", None
    for at, fat in fat_images(medium):
        for file in fat.walk():
            if _is_menu_name(file):
                yield file.path, fat.content(file), at


def _is_menu_name(file: FatFile) -> bool:
    return file.size <= _MENU_MAX and file.path.lower().endswith((".cfg", ".conf"))


def _menu(path: str, raw: bytes, image: int | None) -> Menu | None:
    text = raw.decode("utf-8", "surrogateescape")
    loader = menus.loader_of(path, text)
    return None if loader is None else Menu(path, loader, text, menus.read(loader, text), image)


def find_initrds(medium: Medium, found: list[Menu]) -> list[Initrd]:
    """The initrds that menus name and the tree holds, each by the first path it is known under. Raises MediaError
    when there are more than could be honest."""
    module: dict[str, bool] = {}
    for menu in found:
        for entry in menu.entries:
            for written in entry.initrds:
                path = resolve(written, menu.folder)
                module[path] = module.get(path, False) or entry.module
    out: dict[tuple[int, int], Initrd] = {}
    for path, through_module in module.items():
        pieces = medium.data(path)
        if not pieces or not pieces[0][1]:
            continue
        known = out.get(pieces[0])
        if known is not None:
            through_module = through_module or known.module  # noqa: PLW2901 - the same bytes under another name
            path = known.path  # noqa: PLW2901
        size = sum(length for _at, length in pieces)
        out[pieces[0]] = Initrd(path, size, _packing(medium, pieces[0]), through_module)
        if len(out) > _INITRDS_MAX:
            raise damaged(f"the boot menus name more than {_INITRDS_MAX} initrds")
    return list(out.values())


def _packing(medium: Medium, piece: tuple[int, int]) -> Packing:
    start, size = piece
    return layers(lambda at, length: medium.view.read(start + at, max(0, min(length, size - at))), size)[1]
