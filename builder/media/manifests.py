"""Lists of checksums that a medium carries of its own files, and what a change of files does to them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from builder.media.menus.common import resolve

NAMES = (
    "/md5sum.txt",
    "/sha256sum.txt",
    "/MD5SUMS",
    "/SHA256SUMS",
    "/SHA512SUMS",
    "/CHECKSUMS",
    "/.treeinfo",
    "/treeinfo",
)
SIGNATURES = (".asc", ".sign", ".gpg", ".sig")
_BY_LENGTH = {32: "md5", 40: "sha1", 64: "sha256", 128: "sha512"}
# A line may be as long as its maker likes: neither has two ways to read the same blanks.
_LINE = re.compile(r"([0-9a-fA-F]{32,128})[ \t]+\*?(\S.*)")
_DIGEST = re.compile(r"\s*(md5|sha1|sha256|sha512):([0-9a-fA-F]+)\Z")


@dataclass(frozen=True, slots=True)
class Listed:
    """One line: the file it is about (a path from the root), the algorithm's name, and the digest in hex."""

    path: str
    algorithm: str
    digest: str


def _parse(line: str) -> Listed | None:
    """A line as md5sum and its kin write it, or one of .treeinfo's `[checksums]`."""
    line = line.rstrip()
    found = _LINE.match(line)
    if found and (name := _BY_LENGTH.get(len(found[1]))):
        return Listed(resolve(found[2]), name, found[1].lower())
    path, _equals, value = line.partition("=")
    found = _DIGEST.match(value)
    return Listed(resolve(path.strip()), found[1], found[2].lower()) if found and path.strip() else None


def listed(text: str) -> dict[str, Listed]:
    """The files that a manifest lists, by path."""
    return {item.path: item for item in map(_parse, text.splitlines()) if item is not None}


def updated(text: str, digests: Mapping[str, Callable[[str], str]]) -> str:
    """The manifest with other digests for the files in `digests` (path -> a call that takes the algorithm's name)."""
    out = []
    for line in text.splitlines(keepends=True):
        item = _parse(line)
        if item is not None and item.path in digests:
            old = re.search(re.escape(item.digest), line, re.IGNORECASE)
            if old is not None:
                line = line[: old.start()] + digests[item.path](item.algorithm) + line[old.end() :]  # noqa: PLW2901
        out.append(line)
    return "".join(out)
