"""boot.cfg as the loader reads it: the rules of bootcfg.c and bootmenu.c restated, apart from what writes the file."""

from __future__ import annotations

from dataclasses import dataclass, field

MOST_BYTES = 32768
MOST_ENTRIES = 20
MOST_BANNERS = 12
NUMBERED = 9
"""Entries that a single key can choose by number."""
# In the order in which the loader compares them, by as many letters as each has.
KEYS = ("menu", "banner", "timeout", "default", "consdev", "root", "load", "format", "clear", "userconf")
ELSEWHERE = ("fs",)
"""Keys that the loader's own callback takes, whole."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the menu. `text` is what stands behind its first colon."""

    description: str
    text: str
    line: int

    @property
    def pieces(self) -> tuple[str, ...]:
        """What is copied, each at once: between semicolons, without the spaces after one. Spaces at the end count."""
        parts = self.text.split(";")
        while parts and not parts[-1].strip(" "):
            parts.pop()
        return tuple(part.lstrip(" ") if number else part for number, part in enumerate(parts))

    @property
    def commands(self) -> tuple[str, ...]:
        """What is carried out."""
        return tuple(piece.rstrip(" ") for piece in self.pieces)


@dataclass(frozen=True, slots=True)
class Setting:
    """A key as it is written and as it is taken, with its value."""

    written: str
    key: str
    value: str
    line: int


@dataclass(slots=True)
class BootConfig:
    """What the loader goes by. `timeout` is in seconds, -1 for ever; `default` counts from 0. `dropped` are entries
    that found no place or had no colon."""

    entries: list[Entry] = field(default_factory=list)
    banners: list[str] = field(default_factory=list)
    settings: list[Setting] = field(default_factory=list)
    dropped: list[Setting] = field(default_factory=list)
    ignored: list[tuple[int, str]] = field(default_factory=list)
    timeout: int = 10
    default: int = 0
    consdev: str | None = None
    letters: bool = False

    @property
    def chosen(self) -> Entry | None:
        """What is started when nobody presses a key."""
        return self.entries[self.default] if self.entries else None


def read_boot_cfg(text: str) -> BootConfig:
    """What the loader makes of the file; nothing, when it is too large."""
    config = BootConfig()
    if len(text.encode()) > MOST_BYTES:
        return config
    default, form = 0, "a"
    for number, line in enumerate(text.split("\n"), 1):
        bare = line.partition("#")[0]
        written, equals, value = bare.partition("=")
        if not equals:
            if bare.strip():
                config.ignored.append((number, bare))
            continue
        setting = Setting(written, _taken_as(written), value, number)
        config.settings.append(setting)
        if setting.key == "menu":
            _entry(config, setting)
        elif setting.key == "banner" and len(config.banners) < MOST_BANNERS:
            config.banners.append(value)
        elif setting.key == "timeout":
            config.timeout = _number(value) if value[:1].isdecimal() else -1
        elif setting.key == "default":
            default = _number(value) - 1
        elif setting.key == "consdev":
            config.consdev = value
        elif setting.key == "format" and value[:1].lower() in ("a", "n", "d", "l"):
            form = value[:1].lower()
    _menu(config, form, default)
    return config


def _taken_as(written: str) -> str:
    return next((key for key in KEYS if written.startswith(key)), written)


def _number(value: str) -> int:
    """As atoi reads it: the digits in front, 0 for none."""
    bare = value.strip()
    sign = -1 if bare.startswith("-") else 1
    digits = ""
    for character in bare.lstrip("+-"):
        if not ("0" <= character <= "9"):
            break
        digits += character
    return sign * int(digits or "0")


def _entry(config: BootConfig, setting: Setting) -> None:
    description, colon, commands = setting.value.partition(":")
    if not colon or len(config.entries) >= MOST_ENTRIES:
        config.dropped.append(setting)
        return
    config.entries.append(Entry(description or commands, commands, setting.line))


def _menu(config: BootConfig, form: str, default: int) -> None:
    many = len(config.entries) > NUMBERED and config.timeout > 0
    config.letters = form == "l" or (form == "a" and many)
    if form in ("n", "d") and many:
        del config.entries[NUMBERED:]
    config.default = max(0, min(default, len(config.entries) - 1))
