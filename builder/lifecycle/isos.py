"""The media that nodes install themselves from: found and looked at before anything starts, downloaded once."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from http.client import HTTPException
from pathlib import Path
from typing import get_args

from builder.errors import HostLacks, Interrupted, LabError, UsageError
from builder.media.bill import digest
from builder.media.inspect import installer_of
from builder.media.recognise import Family
from builder.model.lab import Lab, MediumSource, Node, medium_variable
from builder.paths import Places, locked, write_atomic
from builder.systems import traits

Progress = Callable[[int, int], None]
"""Takes bytes done and bytes in all, 0 where nobody knows how many there are."""
_STEP = 1 << 20
_SECONDS = 60.0
"""Without a byte for so long, a download is over."""
_TELLING = frozenset(get_args(Family))
"""Systems whose media can be told by what is on them."""
_PARTICULAR = frozenset({"xcpng"})
"""Those whose installers pass over answers that are for another release, without a word."""


def find_media(
    lab: Lab, places: Places, environ: Mapping[str, str], *, progress: Progress | None = None
) -> tuple[Lab, tuple[str, ...]]:
    """The lab with the place and the digest of every node's medium, and remarks about them for the user.

    A medium that is to be downloaded has the place where it will be. Reads each medium once; a second time only when
    it has changed. Raises UsageError when there is none, or it is another than the lab file means.
    """
    nodes: list[Node] = []
    remarks: list[str] = []
    for node in lab.nodes:
        found, said = find_medium(node, places, environ, progress=progress)
        nodes.append(found)
        remarks += said
    return lab.model_copy(update={"nodes": tuple(nodes)}), tuple(remarks)


def find_medium(
    node: Node, places: Places, environ: Mapping[str, str], *, progress: Progress | None = None
) -> tuple[Node, tuple[str, ...]]:
    """The same for one node; a node without a medium is as it was."""
    if not isinstance(node.source, MediumSource):
        return node, ()
    source = locate(node, places, environ)
    remarks: tuple[str, ...] = ()
    if source.url is None:
        found = digest_of(Path(source.path), places, progress=progress)
        source = source.model_copy(update={"sha256": _same(node, source, found)})
        remarks = fits(node, Path(source.path))
    return node.model_copy(update={"source": source}), remarks


def locate(node: Node, places: Places, environ: Mapping[str, str]) -> MediumSource:
    """Where the node's medium is; `url` is left for one that has to be downloaded. Raises UsageError."""
    source = node.source
    assert isinstance(source, MediumSource)
    kept = places.cache / "media" / f"{source.sha256}.iso"
    if source.path and Path(source.path).is_file():
        return source
    if source.url is not None and kept.is_file():
        return source.model_copy(update={"path": str(kept), "url": None})
    variable = medium_variable(node.system, node.release)
    if named := environ.get(variable):
        path = Path(named).expanduser().absolute()
        if not path.is_file():
            raise UsageError(f"{variable} names {named}, and no file is there", hint="name the medium's file")
        return source.model_copy(update={"path": str(path), "url": None})
    if source.url is not None:
        return source.model_copy(update={"path": str(kept)})
    what = f"its installation medium {source.path} is not there" if source.path else "no installation medium is named"
    raise UsageError(
        f"{node.name}: {what}",
        hint="write source: {medium: FILE.iso}, or {medium: https://..., sha256: ...} in the lab file, "
        f"or set {variable}=/path/to/FILE.iso",
    )


def fits(node: Node, iso: Path) -> tuple[str, ...]:
    """Remarks on a medium that may be another than was meant: of another release, or one that tells nothing of itself.
    Raises UsageError for another system's, and for another release where that would pass over answers."""
    found = installer_of(iso)
    said = f"{iso} installs {found.name} {found.release}".rstrip()
    if found.family == "unknown":
        if node.system not in _TELLING:
            return ()
        return (f"{iso} does not say what it installs, and {node.name} is {node.system}: is it the whole medium?",)
    if found.family != node.system:
        raise UsageError(f"{said}, and {node.name} is {node.system}", hint="name its own medium")
    if not found.release or _is_of(found.release, node.release):
        return ()
    said = f"{said}, and {node.name} is release {node.release}"
    other = next((each for each in _releases(node.system) if _is_of(found.release, each)), None)
    if node.system in _PARTICULAR and other is not None:
        raise UsageError(
            said,
            hint=f'write release: "{other}" in the lab file, or name a medium of {node.release}: '
            f"{medium_variable(node.system, node.release)}=/path/to/FILE.iso",
        )
    return (said,)


def _is_of(found: str, release: str) -> bool:
    """Whether what a medium says is that release, or an update of it: 8.2.1 of 8.2, 9.4 of el9."""
    number = re.search(r"\d+(?:\.\d+)*", release)
    return number is None or f"{found}.".startswith(f"{number[0]}.")


def _releases(system: str) -> tuple[str, ...]:
    known = traits().get(system)
    return known.releases if known is not None else ()


def digest_of(iso: Path, places: Places, *, progress: Progress | None = None) -> str:
    """The sha256 of a medium. Remembered for as long as the file is the same, by its inode, size and times: that of its
    content can be set back by who changed it, that of its last change cannot. A chmod or a new hard link costs one more
    reading; nothing here does either to a medium that it knows."""
    info = iso.stat()
    identity = [info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns]
    book = places.cache / "media" / "digests.json"
    known = _read_book(book).get(str(iso))
    if known is not None and known[:-1] == identity:
        return str(known[-1])
    found = digest(iso, progress=progress).sha256
    with locked(book.with_suffix(".lock")):
        entries = {path: entry for path, entry in _read_book(book).items() if Path(path).exists()}
        entries[str(iso)] = [*identity, found]
        write_atomic(book, json.dumps({"v": 1, "media": entries}, indent=1) + "\n")
    return found


def download(node: Node, source: MediumSource, *, progress: Progress, stop: threading.Event) -> None:
    """Get `source.url` to `source.path`, whole and of the right digest or not at all; what an earlier attempt got is
    gone on from. Another download of the same is waited for.

    Raises HostLacks when the address does not answer, UsageError when it gives another file, Interrupted.
    """
    assert source.url is not None and source.sha256 is not None
    target = Path(source.path)
    part = target.with_suffix(".part")
    with locked(target.with_suffix(".lock"), stop=stop):
        if target.is_file():
            return
        try:
            found = _receive(source.url, part, progress, stop)
        except (OSError, HTTPException) as error:
            why = getattr(error, "reason", None) or error
            raise HostLacks(
                f"{node.name}: its medium cannot be downloaded from {source.url}: {why}",
                hint=f"what came is kept; or get it by hand and set {medium_variable(node.system, node.release)}",
            ) from None
        if found != source.sha256:
            part.unlink()
            raise UsageError(
                f"{node.name}: {source.url} gives a file of sha256 {found}, the lab file says {source.sha256}",
                hint="compare with what its publisher says",
            )
        part.chmod(0o444)
        part.rename(target)


def _receive(url: str, part: Path, progress: Progress, stop: threading.Event) -> str:
    """Download to the end of `part`; the digest of all of it."""
    sum_ = hashlib.sha256()
    with part.open("ab+") as file:
        file.seek(0)
        while chunk := file.read(_STEP):
            sum_.update(chunk)
        have = file.tell()
        request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})  # noqa: S310 - http(s) by the lab file's type
        try:
            answer = urllib.request.urlopen(request, timeout=_SECONDS)  # noqa: S310
        except urllib.error.HTTPError as error:
            if have and error.code == 416:  # nothing is missing
                return sum_.hexdigest()
            raise
        with answer:
            if have and answer.status != 206:  # it knows no ranges, and begins anew
                file.truncate(0)
                have, sum_ = 0, hashlib.sha256()
            length = answer.headers.get("Content-Length")  # a server that makes the file as it goes tells none
            total = 0 if length is None else have + int(length)
            progress(have, total)  # what an earlier attempt got did not come now
            while chunk := answer.read(_STEP):
                if stop.is_set():
                    raise Interrupted("the download was interrupted")
                file.write(chunk)
                sum_.update(chunk)
                have += len(chunk)
                progress(have, total)
        file.flush()
        os.fsync(file.fileno())
        if have < total:
            raise HTTPException(f"{have} of {total} bytes came")
    return sum_.hexdigest()


def _same(node: Node, source: MediumSource, found: str) -> str:
    if source.sha256 not in (None, found):
        raise UsageError(
            f"{node.name}: {source.path} has the sha256 {found}, the lab file says {source.sha256}",
            hint="it is another medium, or was damaged on its way",
        )
    return found


def _read_book(book: Path) -> dict[str, list[object]]:
    """Damaged or of another version: nothing is known, and a medium is read once more."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, LabError):
        raw = json.loads(book.read_text())
        if raw["v"] == 1:
            return {str(path): list(entry) for path, entry in raw["media"].items()}
    return {}
