"""How the bridges of a Xen host are called: the first one by the lab file, the others after it."""

from __future__ import annotations

import re


def bridge_names(first: str, count: int) -> tuple[str, ...]:
    """xenbr0, xenbr1, ... for `xenbr0`; lan, lan1, lan2, ... for a name without a number."""
    match = re.fullmatch(r"(.*?)([0-9]*)", first)
    assert match is not None
    stem, number = match.groups()
    start = int(number or 0)
    return (first, *(f"{stem}{start + index}" for index in range(1, count)))
