"""The scalar types of the lab file: sizes, names, addresses. Parsed once, here, with messages a user can act on."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema

KIB, MIB, GIB, TIB = 1 << 10, 1 << 20, 1 << 30, 1 << 40
_FACTOR = {"KiB": KIB, "MiB": MIB, "GiB": GIB, "TiB": TIB}
SIZE_PATTERN = r"^[0-9]+(\.[0-9]+)? ?(KiB|MiB|GiB|TiB)$"
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([A-Za-z]*)\Z")


def parse_size(value: Any) -> int:
    """Bytes of `4GiB`, `512 MiB`, `1.5TiB`. Raises ValueError that names the nearest right spelling."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError("expected a size such as 4GiB")
    match = _SIZE.match(str(value))
    if match is None:
        raise ValueError(f"{value!r} is not a size; write it as 4GiB or 512MiB")
    number, unit = match.groups()
    if unit not in _FACTOR:
        near = {"k": "KiB", "m": "MiB", "g": "GiB", "t": "TiB"}.get(unit[:1].lower(), "MiB or GiB")
        seen = f"unknown unit {unit!r}" if unit else "a size needs a unit"
        raise ValueError(f"{seen} in {str(value)!r}; write {number}{near}")
    size = float(number) * _FACTOR[unit]
    if size != int(size) or not 0 < size <= 1 << 60:
        raise ValueError(f"{value!r} is not a whole number of bytes between 1 and 2^60")
    return int(size)


def show_size(size: int) -> str:
    """The shortest exact spelling: 4GiB, 1536MiB."""
    for unit, factor in reversed(_FACTOR.items()):
        if size % factor == 0 and size >= factor:
            return f"{size // factor}{unit}"
    return f"{size}B"


def _mac(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"([0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}", value):
        raise ValueError(f"{value!r} is not a MAC address; write six hex pairs such as '52:54:00:aa:00:01', in quotes")
    if int(value[:2], 16) & 1:
        raise ValueError(f"{value} is a group address; the first pair must be even, as in 52:54:00:...")
    return value.lower()


def _interface_address(value: Any) -> str:
    try:
        return str(ipaddress.ip_interface(value)) if "/" in str(value) else _no_prefix(value)
    except ValueError as error:
        raise ValueError(f"{value!r} is not an address with prefix, such as 10.0.0.1/24 ({error})") from None


def _no_prefix(value: Any) -> str:
    raise ValueError(f"{value!r} lacks the prefix length")


def _arguments(value: Any) -> Any:
    """A string is split at white space; a list is taken as it is."""
    return tuple(value.split()) if isinstance(value, str) else value


Size = Annotated[int, BeforeValidator(parse_size), WithJsonSchema({"type": "string", "pattern": SIZE_PATTERN})]
Name = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$")]
Mac = Annotated[
    str,
    BeforeValidator(_mac),
    WithJsonSchema({"type": "string", "pattern": "^([0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}$"}),
]
InterfaceAddress = Annotated[
    str, BeforeValidator(_interface_address), WithJsonSchema({"type": "string", "examples": ["10.0.0.1/24"]})
]
Arguments = Annotated[
    tuple[Annotated[str, Field(pattern=r"^[^\s\"'`$\\;|&<>]+$", max_length=255)], ...],
    BeforeValidator(_arguments),
    WithJsonSchema(
        {
            "oneOf": [
                {"type": "string"},
                {"type": "array", "items": {"type": "string", "pattern": r"^[^\s\"'`$\\;|&<>]+$"}},
            ]
        }
    ),
]
Vlan = Annotated[int, Field(ge=1, le=4094)]
Bdf = Annotated[str, Field(pattern=r"^([0-9a-f]{4}:)?[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$")]
