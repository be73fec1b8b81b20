"""How a kickstart is written: one command on one line, read back by shlex with the same words."""

from __future__ import annotations

from collections.abc import Iterable

from builder.render.quoting import kickstart as word


def command(verb: str, /, *words: object, **options: object) -> str:
    """A line of a kickstart. An option of True stands alone, one of None or False is left out; `boot_drive=x` becomes
    `--boot-drive=x`."""
    parts = [verb, *(word(each) for each in words)]
    for key, value in options.items():
        flag = "--" + key.replace("_", "-")
        if value is True:
            parts.append(flag)
        elif value is not None and value is not False:
            parts.append(f"{flag}={word(value)}")
    return " ".join(parts)


def comma(values: Iterable[object]) -> str | None:
    """Values as one, or None when there are none."""
    return ",".join(str(value) for value in values) or None
