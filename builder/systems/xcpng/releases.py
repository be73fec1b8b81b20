"""What each release's installer knows, for the generator. The judge has a table of its own.

Sources: xcp-ng/host-installer v8.2.1 and v10.10.19.xcpng.5 (8.3.0), xenserver/host-installer v10.10.29 (XenServer 8).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Release:
    """`needs_install`: without the word `install` the answer file is dropped. `raid_needs_no_sr`: an array is looked at
    before it is made when a storage repository is to be on it. `ntp_source`: knows <ntp source=...>."""

    name: str
    title: str
    sr_types: tuple[str, ...]
    gpg_attributes: bool
    ntp_source: bool
    raid: bool
    needs_install: bool = False
    raid_needs_no_sr: bool = False


V8_2 = Release(
    name="8.2", title="XCP-ng 8.2", sr_types=("ext", "lvm"), gpg_attributes=False, ntp_source=False, raid=True,
    needs_install=True,
)  # fmt: skip
V8_3 = Release(
    name="8.3", title="XCP-ng 8.3", sr_types=("ext", "lvm", "largeblock"), gpg_attributes=True, ntp_source=True,
    raid=True, raid_needs_no_sr=True,
)  # fmt: skip
XS8 = Release(
    name="xs8", title="XenServer 8", sr_types=("ext", "lvm"), gpg_attributes=True, ntp_source=True, raid=False,
)  # fmt: skip

RELEASES: Mapping[str, Release] = {each.name: each for each in (V8_3, V8_2, XS8)}
