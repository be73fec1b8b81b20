"""Texts that a lab file may hold in several places, as types. Each says in plain words what it wants, and lets nothing
through that a configuration file, a shell or XML would read as more than the text itself."""

from __future__ import annotations

from typing import Annotated

from builder.model.worded import Worded

SshKey = Annotated[
    str,
    Worded(
        r"(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(256|384|521)|sk-(ssh-ed25519|ecdsa-sha2-nistp256)@openssh\.com)"
        r" [A-Za-z0-9+/]{40,}={0,3}( [ -~]{0,100})?",
        "a public ssh key",
        "write the line of an id_*.pub file",
        longest=2000,
    ),
]
Url = Annotated[
    str,
    Worded(
        r"(https?|ftp)://[!#%-;=?-Z_a-z~\[\]]+",
        "an address of an installation tree",
        "write http://..., https://... or ftp://...",
        longest=1000,
    ),
]
GuestPath = Annotated[
    str,
    Worded(
        r"(/(?!\.{1,2}(/|$))[A-Za-z0-9._+@-]+)+",
        "the path of a file in the host",
        "write it in full, as /srv/guests/web.img: letters, digits and . _ + @ - between the slashes",
        example="/srv/guests/web.img",
    ),
]
Volume = Annotated[
    str,
    Worded(
        r"[A-Za-z0-9_+][A-Za-z0-9_+.-]*/[A-Za-z0-9_+][A-Za-z0-9_+.-]*",
        "a logical volume",
        "write it as GROUP/VOLUME, such as vg0/web",
        longest=120,
        example="vg0/web",
    ),
]
GuestRelease = Annotated[
    str,
    Worded(r"[a-z0-9][a-z0-9._-]*", "a release", "write it as trixie or 10.1", longest=40, example="trixie"),
]
