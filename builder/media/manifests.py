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
_LINE = re.compile(r"^([0-9a-fA-F]{32,128})([ \t]+\*?)(\S.*?)\s*$")
_TREEINFO = re.compile(r"^(\s*)([^=\s][^=]*?)(\s*=\s*)(md5|sha1|sha256|sha512):([0-9a-fA-F]+)\s*$")


@dataclass(frozen=True, slots=True)
class Listed:
    """One line: the file it is about (a path from the root), the algorithm's name, and the digest in hex."""

    path: str
    algorithm: str
    digest: str


def _parse(line: str) -> Listed | None:
    found = _LINE.match(line)
    if found and (name := _BY_LENGTH.get(len(found[1]))):
        return Listed(resolve(found[3]), name, found[1].lower())
    found = _TREEINFO.match(line)
    return Listed(resolve(found[2]), found[4], found[5].lower()) if found else None


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
