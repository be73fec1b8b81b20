"""What each release's installer is, for the generator. The judge has a table of its own.

Sources: yast-autoinstallation e94d61ec, yast-storage-ng d831b098 and yast-bootloader 66a70700 for releases 15;
agama d2870eef (its branch SLE-16) and that branch's products.d for releases 16. Module names and folders of SLES:
AutoYaST Guide of SLES 15, "Add-on products", for the medium that holds all modules.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Release:
    """`product` is the id that the installer knows. `modules` of SLES are parts of its medium, by their names there.
    `packages` and `patterns` make a host with Xen. `boot_least` and `efi_least` are MiB."""

    name: str
    title: str
    installer: Literal["autoyast", "agama"]
    product: str
    patterns: tuple[str, ...]
    packages: tuple[str, ...]
    modules: tuple[str, ...] = ()
    boot_default: int = 1024
    boot_least: int = 512
    efi_least: int = 128

    @property
    def experimental(self) -> bool:
        """Whether nobody has promised that its installer makes a Xen host."""
        return self.installer == "agama"


_XEN_PATTERNS = ("base", "xen_server", "xen_tools")
_BOTH = ("openssh", "lvm2", "mdadm", "dosfstools")

LEAP_15_6 = Release("15.6", "openSUSE Leap 15.6", "autoyast", "Leap", _XEN_PATTERNS, _BOTH)
SLES_15 = Release(
    "sles15", "SUSE Linux Enterprise Server 15 SP6 or SP7", "autoyast", "SLES", _XEN_PATTERNS, _BOTH,
    modules=("basesystem", "server-applications"),
)  # fmt: skip
# Agama's products offer no pattern for Xen: packages are asked for by name.
LEAP_16 = Release("16.0", "openSUSE Leap 16.0", "agama", "Leap_16.0", (), ("xen", "xen-tools", *_BOTH))
SLES_16 = Release("sles16", "SUSE Linux Enterprise Server 16.0", "agama", "SLES", (), ("xen", "xen-tools", *_BOTH))

RELEASES: Mapping[str, Release] = {each.name: each for each in (LEAP_15_6, SLES_15, LEAP_16, SLES_16)}
