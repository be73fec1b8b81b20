"""Edits of what boots: arguments in every menu, overlays for initrds, the copies of menus inside FAT boot images."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field

from builder.media import menus
from builder.media.boot import Initrd, Menu, fat_images, find_initrds, find_menus
from builder.media.edits import Arguments, Overlay
from builder.media.errors import MediaError
from builder.media.fat import Fat, FatFile
from builder.media.initrd import Packing, archive, guard, layers, overlay_place, packed_at
from builder.media.medium import Medium, image_path
from builder.media.menus import Change, Entry
from builder.media.menus.common import resolve
from builder.media.view import in_pieces
from builder.media.workspace import Part, Staged, Workspace

MEDIA_CHECKS = ("rd.live.check", "rd.live.check=", "mediacheck", "mediacheck=")
_SECOND_FROM = 1 << 20
_GRUB_INITRD = re.compile(r"^[^#\n]*\b(?:initrd|initrdefi|initrd16|module|module2|xen_module)\s+\S", re.MULTILINE)
_MENU_MAX = 1 << 20


Uses = dict[tuple[int, int], list[tuple[Menu, Entry, str]]]
"""Who loads initrds, by their places: menu, entry, and path as read from the root."""


@dataclass(slots=True)
class _Image:
    """A FAT boot image and what its files shall become."""

    fat: Fat
    files: dict[str, FatFile]
    new: dict[str, bytes] = field(default_factory=dict)


class BootEdits:
    """Collects edits of menus; those of the tree go to the workspace at once, those of boot images by `write`."""

    def __init__(self, medium: Medium, work: Workspace) -> None:
        self.medium, self.work = medium, work
        self.notes: list[str] = []
        self.written: list[tuple[str, int]] = []
        self.changed_images: list[int] = []
        self._menus: list[Menu] | None = None
        self._images: dict[int, _Image] | None = None

    @property
    def images(self) -> dict[int, _Image]:
        if self._images is None:
            self._images = {at: _Image(fat, {f.path: f for f in fat.walk()}) for at, fat in fat_images(self.medium)}
        return self._images

    # -- menus as they will be

    def menus(self) -> list[Menu]:
        """All menus, with what earlier edits made of them."""
        if self._menus is None:
            self._menus = find_menus(self.medium)
        out = []
        for menu in self._menus:
            text = self._text(menu)
            loader = menus.loader_of(menu.path, text)
            if loader is not None:
                out.append(Menu(menu.path, loader, text, menus.read(loader, text), menu.image))
        known = {menu.path for menu in out if menu.image is None}
        for item in self.work.staged:
            raw = item.in_memory
            if (
                item.old is None
                and item.path not in known
                and raw is not None
                and item.path.endswith((".cfg", ".conf"))
            ):
                text = raw.decode("utf-8", "surrogateescape")
                loader = menus.loader_of(item.path, text)
                if loader is not None:
                    out.append(Menu(item.path, loader, text, menus.read(loader, text)))
        return out

    def _text(self, menu: Menu) -> str:
        if menu.image is None:
            return self.work.text(menu.path).decode("utf-8", "surrogateescape")
        new = self.images[menu.image].new.get(menu.path)
        return menu.text if new is None else new.decode("utf-8", "surrogateescape")

    def _change(self, menu: Menu, change: Change) -> bool:
        new = menus.edit(menu.loader, menu.text, change)
        if new == menu.text:
            return False
        raw = new.encode("utf-8", "surrogateescape")
        if menu.image is None:
            self.work.put(menu.path, [(len(raw), raw)], how="menu edited")
        else:
            self.images[menu.image].new[menu.path] = raw
        return True

    def arguments(self, edit: Arguments) -> None:
        """Put arguments on boot entries. Raises MediaError when no entry takes them."""
        found = self.menus()
        named = [entry for menu in found for entry in menu.entries]
        if not named:
            raise MediaError("no boot menu was found on the medium", hint="give the arguments in another way")
        if edit.hypervisor and not any(entry.hypervisor for entry in named):
            raise MediaError("no boot entry loads a hypervisor, so none takes its arguments", hint="leave them out")
        changed, reached = False, False
        for menu in found:
            change = Change(edit.kernel, edit.hypervisor, edit.remove, (), edit.titles, menu.folder)
            changed = self._change(menu, change) or changed
            reached = reached or any(change.applies(entry.title) for entry in menu.entries)
        if not changed and not reached:
            titles = sorted({entry.title for entry in named})
            raise MediaError(
                f"no boot entry is called {' or '.join(edit.titles)}", hint=f"there are: {', '.join(titles)}"
            )

    def remove_media_check(self) -> None:
        """Take the media check off the kernel lines: with its sum gone it would stop the boot."""
        for menu in self.menus():
            if self._change(menu, Change(remove=MEDIA_CHECKS, folder=menu.folder)):
                self.notes.append(
                    f"{menu.path}: the media check is off, as the image has no checksum of itself any more"
                )

    # -- initrds

    def overlay(self, edit: Overlay) -> None:
        """Give initrds more files. Raises MediaError when there is no initrd, or one that cannot be added to."""
        data = archive(edit.files)
        found = self.menus()
        initrds = find_initrds(self.medium, found)
        if edit.initrd is not None:
            path = image_path(edit.initrd)
            place = self._place(path)
            known = [i for i in initrds if self._place(i.path) == place and place is not None]
            initrds = known or [self._unnamed(path)]
        if not initrds:
            raise MediaError("no boot menu names an initrd that is on the medium", hint="name the initrd yourself")
        second: list[Initrd] = []
        uses = self._uses(found)
        if edit.how in ("auto", "second"):
            second = self._taking_second(initrds, uses, found, forced=edit.how == "second")
        for initrd in initrds:
            if edit.how == "repack":
                self._repack(initrd, data)
            elif initrd not in second:
                self._append(initrd, data)
        if second:
            self._second(second, uses, data)

    def _unnamed(self, path: str) -> Initrd:
        parts = self.work.parts(path)
        size = sum(length for length, _payload in parts)
        return Initrd(path, size, self._layers(parts)[1], module=True)

    def _layers(self, parts: list[Part]) -> tuple[Packing, Packing]:
        size = sum(length for length, _payload in parts)
        return layers(lambda offset, length: self.work.peek(parts, offset, length), size)

    def _uses(self, found: list[Menu]) -> Uses:
        """What the entries of these menus load."""
        uses: Uses = {}
        for menu in found:
            for entry in menu.entries:
                for written in entry.initrds:
                    path = resolve(written, menu.folder)
                    place = self._place(path)
                    if place is not None:
                        uses.setdefault(place, []).append((menu, entry, path))
        return uses

    def _users(self, initrd: Initrd, uses: Uses) -> list[tuple[Menu, Entry, str]]:
        place = self._place(initrd.path)
        return [] if place is None else uses.get(place, [])

    def _taking_second(self, initrds: list[Initrd], uses: Uses, found: list[Menu], *, forced: bool) -> list[Initrd]:
        """Those beside which every loader takes a second one."""
        if not forced and all(initrd.size < _SECOND_FROM for initrd in initrds):
            return []
        all_seen = self._all_seen(found)
        out = []
        for initrd in initrds:
            users = self._users(initrd, uses)
            able = all_seen and bool(users) and not any(entry.module for _menu, entry, _path in users)
            if forced and not able:
                raise MediaError(
                    f"{initrd.path} goes to a loader that takes only one initrd", hint="append to it instead"
                )
            if able and (forced or initrd.size >= _SECOND_FROM):
                out.append(initrd)
        return out

    def _all_seen(self, found: list[Menu]) -> bool:
        """Whether every line that loads an initrd was understood. One behind a variable may load this very initrd,
        and would do so without the second."""
        for menu in found:
            seen = sum(1 for entry in menu.entries if entry.initrds)
            if menu.loader == "grub" and len(_GRUB_INITRD.findall(menu.text)) != seen:
                return False
            paths = [resolve(path, menu.folder) for entry in menu.entries for path in entry.initrds]
            if any(self.work.get(path) is None and self._place(path) is None for path in paths):
                return False
        return True

    def _place(self, path: str) -> tuple[int, int] | None:
        """Where a file of the medium starts, and the length of its first section."""
        pieces = self.medium.data(path)
        return pieces[0] if pieces else None

    def _second(self, initrds: list[Initrd], uses: Uses, data: bytes) -> None:
        path = next(
            p for p in ("/nestlab.img", *(f"/nestlab{n}.img" for n in range(1, 100))) if not self.work.exists(p)
        )
        # The name is short and plain on purpose: loaders that know no Rock Ridge must find it.
        self.work.put(path, [(len(data), data)], how="added")
        pairs: dict[tuple[str, int | None], tuple[Menu, set[tuple[str, str]]]] = {}
        for initrd in initrds:
            for menu, _entry, name in self._users(initrd, uses):
                pairs.setdefault((menu.path, menu.image), (menu, set()))[1].add((name, path))
        for menu, named in pairs.values():
            self._change(menu, Change(second_initrd=tuple(sorted(named)), folder=menu.folder))
        self.notes.append(f"{path} is loaded behind {', '.join(i.path for i in initrds)}")

    def _append(self, initrd: Initrd, data: bytes) -> None:
        parts: list[Part] = self.work.parts(initrd.path)
        first, kind = self._layers(parts)
        if kind == "unknown":
            raise MediaError(f"{initrd.path} is not packed in any way the kernel reads", hint="name the initrd itself")
        place = overlay_place(first, kind, module=initrd.module)
        if place == "in front":
            parts = [(len(data), data), *parts]
            self.notes.append(f"{initrd.path} is packed with {kind}: added files stand in front, its own win over them")
        else:
            if place == "guarded":
                start = guard()
                parts = [(len(start), start), *parts]
            gap = -sum(length for length, _payload in parts) % 4
            parts += [(gap, bytes(gap)), (len(data), data)]
        self.work.put(initrd.path, parts, how="initrd extended")

    def _repack(self, initrd: Initrd, data: bytes) -> None:
        from builder.media.repack import repack  # noqa: PLC0415 - its imports cost more than most plans

        parts = self.work.parts(initrd.path)
        size = sum(length for length, _payload in parts)

        def read(offset: int, length: int) -> bytes:
            return self.work.peek(parts, offset, length)

        kind, at = layers(read, size)[1], packed_at(read, size)
        front = read(0, at)
        packed = repack(in_pieces(read, at, size - at), kind, data)
        self.work.put(initrd.path, [(at, front), (len(packed), packed)], how="initrd packed anew")

    # -- boot images

    def has_twin(self, path: str) -> bool:
        if not path.lower().endswith((".cfg", ".conf")):
            return False
        return any(path in image.files for image in self.images.values())

    def follow(self, staged: Staged, before: bytes | None) -> None:
        """Give the copy in a boot image the content that the same file in the tree got, if both were the same."""
        after = staged.in_memory
        for image in self.images.values():
            file = image.files.get(staged.path)
            if file is None or before is None or file.size > _MENU_MAX:
                continue
            held = image.new.get(staged.path)
            if (image.fat.content(file) if held is None else held) == before:
                image.new[staged.path] = after if after is not None else b"".join(self.work.stream(staged.parts))

    def write(self) -> None:
        """Patch the boot images. Raises MediaError when one has no room."""
        for at, image in self.images.items() if self._images is not None else ():
            for path, content in image.new.items():
                image.fat.replace(image.files[path], content)
                self.written.append((path, len(content)))
            if image.new:
                self.changed_images.append(at)

    def image_digest(self, path: str, algorithm: str) -> str:
        """The digest of a boot image with its edits."""
        sum_ = hashlib.new(algorithm, usedforsecurity=False)
        for start, length in self.medium.data(path) or ():
            for piece in in_pieces(self.medium.view.read, start, length):
                sum_.update(piece)
        return sum_.hexdigest()
