"""Secrets: values that never reach argv, logs or files in clear."""

from __future__ import annotations

import re
from collections.abc import Iterable

# Structures that are secret wherever they turn up, whoever wrote them.
_PATTERNS = (
    # crypt(5) hashes, NetBSD's among them. That long: a script's $1$2 is none.
    re.compile(r"\$(?:[13567]|g?y|2[abxy]|sha1|md5|argon2(?:id?|d))[$,][./+0-9A-Za-z$=,]{8,}"),
    re.compile(r"grub\.pbkdf2\.sha512\.[0-9]+\.[0-9A-Fa-f]+\.[0-9A-Fa-f]+"),
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
    re.compile(r"(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"),  # user:password in a URL
)
MASK = "***"


class Secret:
    """A string that shows as *** unless `reveal` is called."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return MASK

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)


def holds_secret(text: str) -> bool:
    """Whether a text has a crypt hash, a private key or a URL with a password in it."""
    return any(pattern.search(text) for pattern in _PATTERNS)


def redact(text: str, known: Iterable[Secret] = ()) -> str:
    """The text with every known secret, crypt hash, private key and URL password replaced by ***."""
    for secret in known:
        if secret.reveal():
            text = text.replace(secret.reveal(), MASK)
    for pattern in _PATTERNS:
        text = pattern.sub(MASK, text)
    return text
