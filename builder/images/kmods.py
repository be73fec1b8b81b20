"""Kernel modules of an unpacked kernel package: which files a driver needs, in which order, for which devices.

Read from the modules themselves (`.modinfo`), because `modules.dep` is made only when a package is installed.
"""

from __future__ import annotations

import lzma
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from builder.errors import LabError
from builder.images.cpio import Archive

# The sign that /init adds when it runs on Xen.
_ON_XEN = ("hypervisor:xen",)
_FOLDER = "lib/nestlab"
_SUFFIXES = (".ko", ".ko.xz", ".ko.zst", ".ko.gz")


@dataclass(frozen=True, slots=True)
class Driver:
    """One wanted module. `files` is it and all it needs, in loading order. `tokens` are the device signs that call
    for it (`pci:v…d…`, `bc…sc…i…`, `virtio:d…v`, `hypervisor:xen`); without any it is always loaded."""

    name: str
    files: tuple[Path, ...]
    tokens: tuple[str, ...]


class Modules:
    """The modules below `folder` (a `lib/modules/VERSION`)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files = {
            _normal(path.name.split(".ko")[0]): path
            for path in sorted(folder.rglob("*.ko*"))
            if path.name.endswith(_SUFFIXES)
        }
        builtin = folder / "modules.builtin"
        lines = builtin.read_text().splitlines() if builtin.exists() else []
        self._builtin = {_normal(Path(line).name.removesuffix(".ko")) for line in lines}
        self._info: dict[str, dict[str, list[str]]] = {}

    def drivers(self, names: Iterable[str], *, optional: Collection[str] = ()) -> tuple[Driver, ...]:
        """Drivers in the order asked for; those built into the kernel are left out, and those in `optional` that it
        does not have (kernels move things in and out of modules).

        Raises LabError for any other name that this kernel does not have.
        """
        found = []
        for name in names:
            key = _normal(name)
            if key in self._builtin:
                continue
            if key not in self._files and name in optional:
                continue
            if key not in self._files:
                raise LabError(f"kernel {self.folder.name} has no module '{name}'", hint="look at the recipe's modules")
            order: list[str] = []
            self._visit(key, order, soft=False)
            files = tuple(self._files[k] for k in order)
            tokens = _tokens(self._modinfo(key).get("alias", []))
            found.append(Driver(key, files, tokens or (_ON_XEN if key.startswith("xen") else ())))
        return tuple(found)

    def _visit(self, key: str, order: list[str], *, soft: bool) -> None:
        if key in order or key in self._builtin:
            return
        if key not in self._files:
            if soft:
                return
            raise LabError(f"kernel {self.folder.name} lacks the module '{key}' that another one needs")
        info = self._modinfo(key)
        for line in info.get("softdep", []):
            before = line.partition("pre:")[2].partition("post:")[0]
            for name in before.split():
                self._visit(_normal(name), order, soft=True)
        for name in filter(None, ",".join(info.get("depends", [])).split(",")):
            self._visit(_normal(name), order, soft=False)
        order.append(key)

    def _modinfo(self, key: str) -> dict[str, list[str]]:
        if key not in self._info:
            self._info[key] = modinfo(module_bytes(self._files[key]))
        return self._info[key]


def module_bytes(path: Path) -> bytes:
    """The module, unpacked: busybox's insmod and some kernels take nothing else."""
    data = path.read_bytes()
    if path.suffix == ".xz":
        return lzma.decompress(data)
    if path.suffix == ".ko":
        return data
    raise LabError(f"{path.name}: modules packed with {path.suffix} are not handled")


def modinfo(data: bytes) -> dict[str, list[str]]:
    """The `key=value` strings of a module."""
    found: dict[str, list[str]] = {}
    for match in re.finditer(rb"(?<=\0)(alias|depends|softdep)=([^\0]*)(?=\0)", data):
        found.setdefault(match[1].decode(), []).append(match[2].decode())
    return found


def pack(
    archive: Archive, drivers: Sequence[Driver], table: str = "drivers", packed: Collection[str] = ()
) -> frozenset[str]:
    """Put the drivers' files and a table that /init reads into an archive; returns the names of all files in it now.

    The table has a line for each driver: its tokens joined by '|' ('-' for always), then its files in loading order.
    """
    lines, there = [], set(packed)
    for driver in drivers:
        for path in driver.files:
            name = _plain(path)
            if name not in there:
                there.add(name)
                archive.file(f"{_FOLDER}/{name}", module_bytes(path))
        lines.append(" ".join(["|".join(driver.tokens) or "-", *(_plain(path) for path in driver.files)]))
    archive.file(f"{_FOLDER}/{table}", ("\n".join(lines) + "\n").encode())
    return frozenset(there)


def _plain(path: Path) -> str:
    return path.name.split(".ko")[0] + ".ko"


def _normal(name: str) -> str:
    return name.replace("-", "_")


def _tokens(aliases: Iterable[str]) -> tuple[str, ...]:
    """Signs by which /init recognises a device with one substring search of its modalias."""
    found: list[str] = []
    for alias in aliases:
        if exact := re.match(r"pci:v[0-9A-F]{8}d([0-9A-F]{8})?", alias):
            found.append(exact[0])
        elif by_class := re.match(r"pci:v.*bc([0-9A-F]{2})sc([0-9A-F]{2})i([0-9A-F]{2})", alias):
            found.append(f"bc{by_class[1]}sc{by_class[2]}i{by_class[3]}")
        elif virtio := re.match(r"virtio:d[0-9A-F]{8}v", alias):
            found.append(virtio[0])
    return tuple(dict.fromkeys(found))
