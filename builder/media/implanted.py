"""The MD5 that `implantisomd5` writes into the primary volume descriptor, for the media check of Anaconda and others.

The sum is over the volume but its last `SKIPSECTORS` blocks, with the application use field taken as spaces.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

from builder.media.view import SECTOR

FIELD, FIELD_END = 883, 883 + 512
SKIP_SECTORS = 15
FRAGMENTS, FRAGMENT_DIGITS = 20, 60
_STEP = 32768
_TAG = re.compile(rb"ISO MD5SUM = ([0-9a-f]{32})")
_OTHER = (b"ISO MD5SUM", b"md5sum=", b"sha1sum=", b"sha256sum=")


def implanted_md5(descriptor: bytes) -> str:
    """The digest in a primary volume descriptor's 2048 bytes; empty when there is none."""
    found = _TAG.search(descriptor[FIELD:FIELD_END])
    return found[1].decode() if found else ""


def holds_digest(descriptor: bytes) -> bool:
    """Whether the field holds any digest of the image that a change makes wrong (SUSE's tags too)."""
    return any(tag in descriptor[FIELD:FIELD_END] for tag in _OTHER)


def blanked(descriptor: bytes) -> bytes:
    return descriptor[:FIELD] + b" " * (FIELD_END - FIELD) + descriptor[FIELD_END:]


def implant(descriptor: bytes, pieces: Iterable[bytes], volume_bytes: int) -> bytes:
    """The descriptor with the sum of an image put in.

    `pieces` are the image's bytes from its start, at least `volume_bytes` of them, in which the descriptor's field
    is already blank.
    """
    total = volume_bytes - SKIP_SECTORS * SECTOR
    fragment = total // (FRAGMENTS + 1)
    whole = hashlib.md5(usedforsecurity=False)
    digits, done, previous = "", 0, 0
    for step in _steps(pieces, total):
        whole.update(step)
        current = done // fragment
        # The reference program takes the sum so far each time that a step begins in another fragment.
        if current != previous and len(digits) < FRAGMENT_DIGITS:
            digest = whole.copy().digest()
            digits += "".join(f"{digest[place]:x}"[0] for place in range(FRAGMENT_DIGITS // FRAGMENTS))
            previous = current
        done += len(step)
    text = (
        f"ISO MD5SUM = {whole.hexdigest()};SKIPSECTORS = {SKIP_SECTORS};RHLISOSTATUS=0;"
        f"FRAGMENT SUMS = {digits};FRAGMENT COUNT = {FRAGMENTS};"
        "THIS IS NOT THE SAME AS RUNNING MD5SUM ON THIS ISO!!"
    )
    return descriptor[:FIELD] + text.encode().ljust(FIELD_END - FIELD) + descriptor[FIELD_END:]


def _steps(pieces: Iterable[bytes], total: int) -> Iterable[bytes]:
    held, left = bytearray(), total
    for piece in pieces:
        held += piece
        while left and len(held) >= min(_STEP, left):
            step = bytes(held[: min(_STEP, left)])
            del held[: len(step)]
            left -= len(step)
            yield step
        if not left:
            return
