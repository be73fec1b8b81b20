"""The scalar types of the lab file: sizes, names, addresses. Parsed once, here, with messages a user can act on."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema

from builder.model.words import describe, shorten, written

KIB, MIB, GIB, TIB = 1 << 10, 1 << 20, 1 << 30, 1 << 40
_FACTOR = {"KiB": KIB, "MiB": MIB, "GiB": GIB, "TiB": TIB}
SIZE_PATTERN = r"^[0-9]+(\.[0-9]+)? ?(KiB|MiB|GiB|TiB)$"
# No kernel reads a longer command line than this (x86 Linux: 2,048 bytes).
LONGEST_ARGUMENTS = 4096
MOST_ARGUMENTS = 256
NAME_PATTERN = r"^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$"
MAC_PATTERN = "^([0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}$"
ADDRESS_PATTERN = r"^[0-9A-Fa-f.:]+/[0-9]{1,3}$"
ARGUMENT_PATTERN = r"^[^\s\"'`$\\;|&<>]+$"
BRIDGE_PATTERN = r"^[a-z][a-z0-9]{0,14}$"
BDF_PATTERN = r"^([0-9a-f]{4}:)?[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$"
_MEANT = {"k": "KiB", "m": "MiB", "g": "GiB", "t": "TiB"}
_SIZE = re.compile(r"([0-9]{1,20})(?:\.([0-9]{1,20}))? ?([A-Za-z]{0,20})\Z")


class BadValue(ValueError):
    """A value that cannot be meant: what is wrong, what to write instead, and the stable code of the finding."""

    def __init__(self, code: str, message: str, hint: str) -> None:
        super().__init__(f"{message}; {hint}")
        self.code = code
        self.message = message
        self.hint = hint


def parse_size(value: Any) -> int:
    """Bytes of `4GiB`, `512 MiB`, `1.5TiB`. Raises BadValue that names the nearest right spelling."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise BadValue("lab-size", f"expected a size, found {describe(value)}", "write it as 4GiB or 512MiB")
    match = _SIZE.match(written(value))
    if match is None:
        raise BadValue("lab-size", f"{shorten(written(value))} is not a size", "write it as 4GiB or 512MiB")
    whole, fraction, unit = (part or "" for part in match.groups())
    number = f"{whole}.{fraction}" if fraction else whole
    if unit not in _FACTOR:
        near = _MEANT.get(unit[:1].lower())
        seen = f"unknown unit {shorten(unit)}" if unit else "a size needs a unit"
        hint = f"write {number}{near}" if near else f"write {number}MiB or {number}GiB"
        raise BadValue("lab-size", f"{seen} in {shorten(written(value))}", hint)
    size, rest = divmod(int(whole + fraction) * _FACTOR[unit], int(10 ** len(fraction)))
    if rest or not 0 < size <= 1 << 60:
        raise BadValue(
            "lab-size",
            f"{number}{unit} is not a whole number of bytes between 1 and 2^60",
            "write it as 4GiB or 512MiB",
        )
    return size


def parse_mib(value: Any) -> int:
    """As parse_size, for what is counted in whole MiB."""
    size = parse_size(value)
    if size % MIB:
        raise BadValue("lab-size", f"{shorten(written(value))} is no whole number of MiB", "write it as 4GiB or 512MiB")
    return size


def show_size(size: int) -> str:
    """The shortest exact spelling: 4GiB, 1536MiB."""
    for unit, factor in reversed(_FACTOR.items()):
        if size % factor == 0 and size >= factor:
            return f"{size // factor}{unit}"
    return f"{size}B"


def _mac(value: Any) -> str:
    hint = "write six hex pairs, such as 52:54:00:aa:00:01"
    if not isinstance(value, str) or not re.fullmatch(r"([0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}", value):
        seen = shorten(value) if isinstance(value, str) else describe(value)
        raise BadValue("lab-mac", f"{seen} is not a MAC address", hint)
    if int(value[:2], 16) & 1:
        raise BadValue("lab-mac", f"{value} is a group address", "make the first pair even, as in 52:54:00:...")
    if int(value.replace(":", ""), 16) == 0:
        raise BadValue("lab-mac", f"{value} is no card's address", hint)
    return value.lower()


def _interface_address(value: Any) -> str:
    hint = "write it with its prefix length, such as 10.0.0.1/24"
    if not isinstance(value, str):
        raise BadValue("lab-address", f"expected an address, found {describe(value)}", hint)
    if "/" not in value:
        raise BadValue("lab-address", f"{shorten(value)} lacks the prefix length", hint)
    import ipaddress  # noqa: PLC0415 - many labs have no addresses, and starting up is measured

    try:
        interface = ipaddress.ip_interface(value)
    except ValueError:
        raise BadValue("lab-address", f"{shorten(value)} is not an IPv4 or IPv6 address with prefix", hint) from None
    network = interface.network
    if network.prefixlen < network.max_prefixlen - 1 and interface.ip == network.network_address:
        raise BadValue("lab-address", f"{value} is the address of the network itself", "give a host's address in it")
    return str(interface)


def _subnet(value: Any) -> str:
    hint = "write it with its prefix length, such as 10.0.0.0/24"
    if not isinstance(value, str) or "/" not in value:
        seen = shorten(value) if isinstance(value, str) else describe(value)
        raise BadValue("lab-address", f"{seen} is not a network with a prefix length", hint)
    import ipaddress  # noqa: PLC0415 - see above

    try:
        return str(ipaddress.ip_network(value))
    except ValueError as error:
        if "host bits" in str(error):
            whole = ipaddress.ip_network(value, strict=False)
            raise BadValue("lab-address", f"{value} is an address within a network", f"write {whole}") from None
        raise BadValue("lab-address", f"{shorten(value)} is not an IPv4 or IPv6 network", hint) from None


def _arguments(value: Any) -> Any:
    """A string is split at white space; a list is taken as it is."""
    if isinstance(value, str) and len(value) > LONGEST_ARGUMENTS:
        raise BadValue("lab-argument", f"the text is {len(value)} characters long", f"{LONGEST_ARGUMENTS} at most")
    return tuple(value.split()) if isinstance(value, str) else value


Size = Annotated[
    int,
    BeforeValidator(parse_size),
    WithJsonSchema({"type": "string", "pattern": SIZE_PATTERN, "examples": ["4GiB", "512MiB"]}),
]
WholeMib = Annotated[
    int,
    BeforeValidator(parse_mib),
    WithJsonSchema({"type": "string", "pattern": SIZE_PATTERN, "examples": ["512MiB"]}),
]
Name = Annotated[str, Field(pattern=NAME_PATTERN)]
Mac = Annotated[str, BeforeValidator(_mac), WithJsonSchema({"type": "string", "pattern": MAC_PATTERN})]
InterfaceAddress = Annotated[
    str,
    BeforeValidator(_interface_address),
    WithJsonSchema({"type": "string", "pattern": ADDRESS_PATTERN, "examples": ["10.0.0.1/24"]}),
]
Subnet = Annotated[
    str,
    BeforeValidator(_subnet),
    WithJsonSchema({"type": "string", "pattern": ADDRESS_PATTERN, "examples": ["10.0.0.0/24"]}),
]
Arguments = Annotated[
    tuple[Annotated[str, Field(pattern=ARGUMENT_PATTERN, max_length=255)], ...],
    Field(max_length=MOST_ARGUMENTS),
    BeforeValidator(_arguments),
    WithJsonSchema(
        {
            "oneOf": [
                {"type": "string", "maxLength": LONGEST_ARGUMENTS},
                {
                    "type": "array",
                    "maxItems": MOST_ARGUMENTS,
                    "items": {"type": "string", "pattern": ARGUMENT_PATTERN, "maxLength": 255},
                },
            ]
        }
    ),
]
Vlan = Annotated[int, Field(strict=True, ge=1, le=4094)]
Bdf = Annotated[str, Field(pattern=BDF_PATTERN)]
