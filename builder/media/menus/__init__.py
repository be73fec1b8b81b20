"""Boot menus as text: what each entry boots, and the same menu with other arguments. Pure: text in, text out."""

from __future__ import annotations

import re

from builder.media.menus.common import Change, Entry, Loader
from builder.media.menus.grub import edit_grub, read_grub
from builder.media.menus.isolinux import edit_isolinux, read_isolinux
from builder.media.menus.netbsd import edit_netbsd, read_netbsd

__all__ = ["Change", "Entry", "Loader", "edit", "loader_of", "read"]
_LABEL = re.compile(r"^[ \t]*label[ \t]+\S", re.IGNORECASE | re.MULTILINE)
_READ = {"isolinux": read_isolinux, "grub": read_grub, "netbsd": read_netbsd}
_EDIT = {"isolinux": edit_isolinux, "grub": edit_grub, "netbsd": edit_netbsd}


def loader_of(path: str, text: str) -> Loader | None:
    """Which loader reads a menu, from its name and what is in it; None for what boots nothing."""
    name = path.rsplit("/", 1)[-1].lower()
    # GRUB legacy says `kernel` as isolinux does, but has no labels.
    labels = _LABEL.search(text) is not None and "menuentry" not in text
    order: tuple[Loader, ...] = ("isolinux",) if labels else ("grub",)
    if name == "boot.cfg":
        order = ("netbsd",)
    elif name in ("isolinux.cfg", "syslinux.cfg", "extlinux.conf"):
        order = ("isolinux",)
    return next((loader for loader in order if read(loader, text)), None)


def read(loader: Loader, text: str) -> tuple[Entry, ...]:
    """The entries that boot something, in order."""
    return _READ[loader](text)


def edit(loader: Loader, text: str, change: Change) -> str:
    """The menu with `change` made. Raises MediaError when the loader could not read the result."""
    return _EDIT[loader](text, change)
