"""The drives of a profile with what the judges ask of them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from builder.systems.suse.judge.reading import Element

_FACTOR = {"": 1, "B": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
# With `legacy_units`, kB and KB are 1,024 bytes as KiB is: disk_size.rb, calculate_bytes.
_SIZE = re.compile(r"([0-9]+(?:[.,][0-9]+)?)\s*([KMGT]?)I?B?", re.IGNORECASE)
MAX = -1


def size_of(said: str) -> int | None:
    """Bytes; MAX for what takes the rest or a share of it; None for what is no size."""
    text = said.strip().lower()
    if text in ("", "max", "auto") or re.fullmatch(r"[0-9]+(\.[0-9]+)?\s*%", text):
        return MAX
    match = _SIZE.fullmatch(text)
    if match is None:
        return None
    return int(float(match[1].replace(",", ".")) * _FACTOR[match[2].upper()])


@dataclass(frozen=True, slots=True)
class Part:
    """A partition, an array or a volume: whatever a <partition> stands for."""

    element: Element

    @property
    def line(self) -> int:
        return self.element.line

    @property
    def mount(self) -> str:
        return self.element.value("mount")

    @property
    def array(self) -> str:
        return self.element.value("raid_name")

    @property
    def group(self) -> str:
        return self.element.value("lvm_group")

    @property
    def volume(self) -> str:
        return self.element.value("lv_name")

    @property
    def said_size(self) -> str:
        return self.element.value("size")

    @property
    def size(self) -> int | None:
        return size_of(self.said_size)

    @property
    def id(self) -> str:
        return self.element.value("partition_id")


@dataclass(frozen=True, slots=True)
class Drive:
    element: Element

    @property
    def line(self) -> int:
        return self.element.line

    @property
    def device(self) -> str:
        return self.element.value("device")

    @property
    def kind(self) -> str:
        """Its type; without one, by its device: drive_section.rb, default_type_for."""
        return self.element.value("type") or ("CT_MD" if self.device.startswith("/dev/md") else "CT_DISK")

    @property
    def use(self) -> str:
        return self.element.value("use")

    @property
    def initialize(self) -> bool:
        return bool(self.element.truth("initialize"))

    @property
    def label(self) -> str:
        return self.element.value("disklabel") or "gpt"

    @property
    def parts(self) -> list[Part]:
        partitions = self.element.first("partitions")
        return [Part(each) for each in (partitions.children if partitions is not None else ())]

    @property
    def array_names(self) -> list[str]:
        """Names of the arrays that a drive of type CT_MD makes. /dev/md is the old style, with one in each part."""
        if self.device != "/dev/md":
            return [self.device]
        return [
            part.element.value("raid_options", "raid_name") or f"/dev/md/{part.element.value('partition_nr')}"
            for part in self.parts
        ]

    def level(self, name: str) -> str:
        """The level that is written for that array; empty when none is."""
        if self.device != "/dev/md":
            own = self.element.value("raid_options", "raid_type")
            return own or (self.parts[0].element.value("raid_options", "raid_type") if self.parts else "")
        part = self.parts[self.array_names.index(name)]
        return part.element.value("raid_options", "raid_type")


def drives_of(section: Element | None) -> list[Drive]:
    return [Drive(each) for each in (section.children if section is not None else ())]
