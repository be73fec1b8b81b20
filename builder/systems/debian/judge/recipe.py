"""A partman recipe as entries, read by the rules of decode_recipe and setup_partition (partman-auto's recipes.sh).

The text is split at blanks and nothing else. `NAME :` is its title, and a single `.` ends an entry: three sizes, a file
system, then flags, each a word that ends in `{`, words, and a word `}`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

Say = Callable[[str, str, str], None]
"""Code, message, hint."""

_SIZE = re.compile(r"(\d+)(?:\+(\d+)%)?|(\d+)%")
FILESYSTEMS = {
    "12": {"ext2", "ext3", "ext4", "xfs", "jfs", "linux-swap", "fat16", "fat32", "hfs", "ufs"},
    "13": {"btrfs", "ext2", "ext3", "ext4", "xfs", "jfs", "linux-swap", "fat16", "fat32", "hfs"},
}
# What documents write there for partitions without a file system. Both are taken for ext2, which then means nothing.
_NO_FILESYSTEM = {"free", "raid", "$default_filesystem"}
SWITCHES = {
    "$primary", "$bootable", "$iflabel", "$reusemethod", "$lvmok", "$lvmignore", "$defaultignore", "$cryptoignore",
    "$default_filesystem", "$legacy_boot", "$reuse",
}  # fmt: skip
KEYS = {
    "method", "format", "use_filesystem", "filesystem", "mountpoint", "label", "device", "vg_name", "in_vg", "lv_name",
    "reserved", "keep", "name",
}  # fmt: skip
METHODS = {"format", "keep", "swap", "raid", "lvm", "crypto", "efi", "biosgrub", "prep", "newworld"}


@dataclass(frozen=True, slots=True)
class Entry:
    """Sizes in MB; `most` is -1 without a limit. `flags` are what stands between braces, by name."""

    least: int
    priority: int
    most: int
    filesystem: str
    flags: dict[str, str] = field(default_factory=dict)

    @property
    def method(self) -> str:
        return self.flags.get("method", "")

    @property
    def mountpoint(self) -> str:
        return self.flags.get("mountpoint", "")

    @property
    def volume(self) -> bool:
        """A logical volume, where there is a volume group."""
        return "$lvmok" in self.flags


def read_recipe(text: str, release: str, say: Say) -> list[Entry]:
    """What can be read; the rest is said."""
    entries: list[Entry] = []
    words: list[str] = []
    for word in text.split():
        if word in (":", "::"):
            words = []
        elif word == ".":
            entry = _entry(words, release, say)
            if entry is not None:
                entries.append(entry)
            words = []
        else:
            words.append(word)
    if words:
        say("NLD020", f"the last entry does not end: {' '.join(words)[:60]}", "end each entry with a dot of its own")
    return entries


def _entry(words: list[str], release: str, say: Say) -> Entry | None:
    if len(words) < 4:
        say("NLD020", f"an entry is three sizes, a file system and flags: {' '.join(words)[:60]}", "1000 1000 -1 ext4")
        return None
    sizes = [_size(word, place, say) for place, word in enumerate(words[:3])]
    least, priority, most = sizes
    if priority < least or -1 < most < least:
        say("NLD022", f"{' '.join(words[:3])}: priority and upper limit are raised to the least size",
            "write the three sizes in rising order")  # fmt: skip
    filesystem = words[3]
    if filesystem not in FILESYSTEMS[release] | _NO_FILESYSTEM:
        say("NLD025", f"{filesystem} is no file system that the installer takes here", "ext4")
    return Entry(least, max(priority, least), most, filesystem, _flags(words[4:], say))


def _size(word: str, place: int, say: Say) -> int:
    """Sizes that follow from the machine's memory count as their fixed part."""
    if place == 2 and word == "-1":
        return -1
    match = _SIZE.fullmatch(word)
    if match is None:
        say("NLD021", f"{word} is no size", "write MB, or a part of the memory: 1000, 50%, 1000+50%; -1 for no limit")
        return 0
    return int(match[1] or 0)


def _flags(words: list[str], say: Say) -> dict[str, str]:
    flags: dict[str, str] = {}
    rest = iter(words)
    for word in rest:
        name = word.removesuffix("{")
        if name == word or "}" in word:
            say("NLD023", f"{word} stands outside of braces and means nothing", "write method{ format }, with blanks")
            continue
        if name not in SWITCHES | KEYS and not name.startswith("options/"):
            say("NLD024", f"there is no flag {name}", f"one of {', '.join(sorted(KEYS))}")
        value = []
        for inner in rest:
            if inner == "}":
                break
            value.append(inner)
        else:
            say("NLD020", f"{word} is never closed", "close it with a } of its own")
        flags[name] = " ".join(value)
    return flags
