"""Sizes, addresses and names: what is taken, and what is said about the rest."""

from __future__ import annotations

import pytest

from builder.model.units import GIB, KIB, MIB, TIB, BadValue, parse_size, show_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4GiB", 4 * GIB), ("512 MiB", 512 * MIB), ("1.5TiB", 3 * TIB // 2), ("0.5KiB", 512), ("1KiB", KIB),
        ("900719925474099KiB", 900719925474099 * KIB), ("1048575.99609375GiB", 1048575 * GIB + 1020 * MIB),
        ("1048576TiB", 1 << 60), ("1.25GiB", 1280 * MIB),
    ],
)  # fmt: skip
def test_size(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["0GiB", "-1GiB", "1048577TiB", "0.3KiB", "GiB", "4 4GiB", "1e3GiB", "", "4GiB\n", "٤GiB"]
)
def test_no_size(text: str) -> None:
    with pytest.raises(BadValue) as caught:
        parse_size(text)
    assert caught.value.code == "lab-size" and caught.value.hint


@pytest.mark.parametrize("size", [1, 1023, KIB, 1536 * MIB, 4 * GIB, TIB, 5 * GIB + KIB])
def test_shown_size_is_exact(size: int) -> None:
    shown = show_size(size)
    assert shown == f"{size}B" if size % KIB else parse_size(shown) == size
