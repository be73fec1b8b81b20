"""Types of installer settings that several systems have in common. Each says in plain words what it wants."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, Field, WithJsonSchema

from builder.model import texts
from builder.model.install import Worded
from builder.model.units import BadValue
from builder.model.words import shorten


@dataclass(frozen=True, slots=True)
class Withheld(Worded):
    """A text that no message shows: it may be a password in clear, where its hash should stand."""

    def check(self, value: str) -> str:
        if len(value) > self.longest or not re.fullmatch(self.pattern, value):
            raise BadValue("lab-bad-value", f"this is not {self.what}", self.hint)
        return value


Bool = Annotated[bool, Field(strict=True)]

_SALT = r"[./0-9A-Za-z]"
CryptHash = Annotated[
    str,
    Withheld(
        rf"\$[56]\$(rounds=[0-9]{{4,9}}\$)?{_SALT}{{1,16}}\${_SALT}{{43,86}}|\$y\${_SALT}+\${_SALT}{{0,86}}\${_SALT}{{43}}",
        "a crypt hash",
        "make one with `openssl passwd -6`; passwords in clear are not taken",
    ),
]
SshKey = texts.SshKey
Account = Annotated[
    str, Worded(r"[a-z_][a-z0-9_-]{0,31}", "a login name", "use lower-case letters, digits, - and _, 32 at most")
]
Language = Annotated[
    str,
    Worded(r"[a-z]{2,3}_[A-Z]{2}\.UTF-8", "a language", "write it as en_US.UTF-8", example="en_US.UTF-8", longest=40),
]
Keymap = Annotated[
    str, Worded(r"[a-z0-9][a-z0-9_.-]*", "a keyboard map", "write it as us or de-nodeadkeys", longest=40)
]
Timezone = Annotated[
    str,
    Worded(
        r"[A-Z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){0,2}", "a time zone", "write it as Etc/UTC or Europe/Paris", longest=60
    ),
]
HostName = Annotated[
    str,
    Worded(
        r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*",
        "a host name",
        "use letters, digits and hyphens, and dots between the parts",
    ),
]
Url = texts.Url
Package = Annotated[
    str,
    Worded(
        r"-?(@\^?)?[A-Za-z0-9][A-Za-z0-9+._:*-]*",
        "a package",
        "write name, @group, @^environment, or -name to leave one out",
        longest=120,
    ),
]
Word = Annotated[
    str, Worded(r"[A-Za-z0-9][A-Za-z0-9._+-]*", "one plain word", "use letters, digits and . _ + -", longest=64)
]
Device = Annotated[
    str, Worded(r"bond[0-9]{1,3}|br[a-z0-9-]{0,12}|virbr[0-9]{1,3}", "a device name", "write bond0 or br0", longest=15)
]
BondOption = Annotated[
    str, Worded(r"[a-z_]+=[A-Za-z0-9.:+_-]+", "an option of the bonding driver", "write it as miimon=100")
]
VolumeName = Annotated[
    str, Worded(r"[A-Za-z0-9_+][A-Za-z0-9_+.]*", "a volume group name", "use letters, digits and _ + .", longest=60)
]
DevicePath = Annotated[
    str,
    Worded(
        r"/dev/disk/by-(id|path)/[A-Za-z0-9._:+=@-]+|/dev/[a-z]+[a-z0-9]*",
        "the path of a disk",
        "write /dev/disk/by-id/..., as `ls -l /dev/disk/by-id` shows it on the machine",
    ),
]
Interpreter = Annotated[
    str, Worded(r"/[A-Za-z0-9._/-]+", "the path of a program", "write it as /bin/bash", longest=100)
]
Service = Annotated[str, Worded(r"[A-Za-z0-9@._-]+", "the name of a service", "write it as chronyd", longest=100)]


def _address(value: str) -> str:
    try:
        return str(ipaddress.ip_address(value))
    except ValueError:
        raise BadValue(
            "lab-address", f"{shorten(value)} is not an IPv4 or IPv6 address", "write it as 192.0.2.1"
        ) from None


Address = Annotated[
    str,
    AfterValidator(_address),
    WithJsonSchema({"type": "string", "pattern": "^[0-9A-Fa-f.:]+$", "examples": ["192.0.2.1"]}),
]
