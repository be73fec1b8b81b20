"""What all menu readers share: an entry, a change, and how arguments are put on a line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from builder.media.errors import MediaError

Loader = Literal["isolinux", "grub", "netbsd"]
# isolinux hands these on; GRUB (lib/cmdline.c) puts a backslash before each, and quotes around what has a space.
_ALTERED = frozenset(" \"'\\")


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that can be booted. Arguments in order, as the layer gets them. `module`: the initrd goes through a
    hypervisor's loader. Paths are written as the menu writes them."""

    title: str
    kernel: str
    arguments: tuple[str, ...] = ()
    initrds: tuple[str, ...] = ()
    hypervisor: str = ""
    hypervisor_arguments: tuple[str, ...] = ()
    module: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """What to do to boot entries.

    `kernel`, `hypervisor`: arguments to add where they are not there yet. `remove`: arguments to take away, each
    whole (`rd.live.check`) or up to and with `=` (`console=`). `second_initrd`: (initrd as a path from the root,
    overlay's path). `titles`: only entries with these names; empty for all of them. `folder`: where the menu's
    relative paths start.
    """

    kernel: tuple[str, ...] = ()
    hypervisor: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    second_initrd: tuple[tuple[str, str], ...] = ()
    titles: tuple[str, ...] = ()
    folder: str = "/"

    def __post_init__(self) -> None:
        for argument in (*self.kernel, *self.hypervisor):
            if not argument or any(ord(c) < 32 or ord(c) == 127 for c in argument):
                raise MediaError(
                    f"{argument!r} cannot be a boot argument", hint="arguments are one line without control characters"
                )
            if set(argument) & _ALTERED:
                raise MediaError(
                    f"the argument {argument} would not reach the kernel as it is written",
                    hint="boot loaders differ in what they do with spaces, quotes and backslashes: leave them out",
                )

    def applies(self, *names: str) -> bool:
        return not self.titles or any(name in self.titles for name in names)


def removes(remove: Sequence[str], argument: str) -> bool:
    return any(argument == name or (name.endswith("=") and argument.startswith(name)) for name in remove)


def with_arguments(present: Sequence[str], add: Sequence[str], remove: Sequence[str]) -> list[str]:
    """`present` without what is removed and with what is added, before `---` (what follows it is for the installed
    system). An argument that is there already is not put in twice."""
    kept = [argument for argument in present if not removes(remove, argument)]
    stop = next((place for place, word in enumerate(kept) if word in ("---", "--")), len(kept))
    new = [argument for argument in add if argument not in kept[:stop]]
    return [*kept[:stop], *new, *kept[stop:]]


def is_hypervisor(path: str) -> bool:
    """Whether a multiboot kernel is Xen, whose first module is the kernel. Others take the arguments themselves."""
    return "xen" in path.rsplit("/", 1)[-1].lower()


def same_path(written: str, folder: str, wanted: str) -> bool:
    """Whether a path as a menu writes it (from `folder` when not absolute) is the image's `wanted`."""
    return resolve(written, folder).casefold() == wanted.casefold()


def resolve(written: str, folder: str = "/") -> str:
    """A menu's path as a path from the image's root: device and variables in front are dropped."""
    path = written.strip("\"'")
    if path.startswith("("):
        path = path.partition(")")[2]
    while path.startswith("$"):
        path = "/" + path.partition("/")[2]
    names: list[str] = []
    for part in (path if path.startswith("/") else f"{folder}/{path}").split("/"):
        if part == "..":
            names = names[:-1]
        elif part not in ("", "."):
            names.append(part)
    return "/" + "/".join(names)
