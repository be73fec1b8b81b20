"""How much memory a dom0 should have, as XCP-ng's guide "Dom0 memory" says."""

from __future__ import annotations

from builder.model.units import GIB, MIB
from builder.systems.dom0 import memory

SOURCE = "XCP-ng docs, guides, Dom0 memory"


def documented(host: int, *, zfs: bool = False) -> tuple[int, bool]:
    """Least bytes for dom0 on a host of so many bytes, and whether the document states them.

    2 GiB in any case; 4 GiB up to 64 GiB; 8 GiB from 128 GiB; 16 GiB with ZFS. Between 64 and 128 GiB nothing is
    stated: the larger of the neighbours is taken there. A host too small to give the half away gives the half.
    """
    stated = not 64 * GIB < host < 128 * GIB
    least = 4 * GIB if host <= 64 * GIB else 8 * GIB
    if zfs:
        return 16 * GIB, True
    if host < 8 * GIB:
        return max(2 * GIB, min(least, host // 2 // MIB * MIB)), True
    return least, stated


def setting(size: int) -> str:
    """The hypervisor's argument: the same value as start and as maximum."""
    amount = memory(size)
    return f"dom0_mem={amount},max:{amount}"
