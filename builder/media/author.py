"""Small volumes made from nothing, for installers that look for their answers on a second disk. By pycdlib, which
authors well; what it must not do is rewrite bootable media."""

from __future__ import annotations

import io
import re
import stat
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pycdlib
from pycdlib.pycdlibexception import PyCdlibException

from builder.media.errors import MediaError
from builder.media.iso9660 import entries
from builder.media.medium import open_medium
from builder.media.sinks.file import plain_target, write_failed
from builder.media.tree import parts
from builder.paths import write_atomic

if TYPE_CHECKING:
    # At run time this would load pydantic, which costs more than a volume does.
    from builder.model.plan import Answer, File

KICKSTART_LABEL = "OEMDRV"
NOCLOUD_LABEL = "cidata"
ANSWER_LABEL = "NESTLAB"
DATE = 315532800  # 1980: the oldest date that every file system can hold
_PRIVATE = ("root", ".ssh")
_LABEL = re.compile(r"[A-Za-z0-9_.-]{1,16}\Z")


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume to be: its label and its files, path -> content. `modes` are the permission bits of those that are not
    for everybody to read."""

    label: str
    files: Mapping[str, bytes]
    modes: Mapping[str, int] = field(default_factory=dict)


def kickstart_volume(kickstart: str, *, more: Mapping[str, bytes] | None = None) -> Volume:
    """What Anaconda looks for by itself: a volume called OEMDRV with /ks.cfg (pykickstart's and dracut's rules)."""
    return Volume(KICKSTART_LABEL, {"/ks.cfg": kickstart.encode(), **(more or {})})


def autoyast_volume(profile: str) -> Volume:
    """What AutoYaST looks for by itself: OEMDRV with /autoinst.xml."""
    return Volume(KICKSTART_LABEL, {"/autoinst.xml": profile.encode()})


def preseed_volume(preseed: str, *, more: Mapping[str, bytes] | None = None) -> Volume:
    """A CD with /preseed.cfg; the Debian installer is pointed at it by `preseed/file=`."""
    return Volume(ANSWER_LABEL, {"/preseed.cfg": preseed.encode(), **(more or {})})


def nocloud_volume(user_data: str, meta_data: str, *, network: str | None = None) -> Volume:
    """cloud-init's NoCloud data source. Raises MediaError when `user_data` is no cloud-config or script."""
    if not user_data.startswith(("#cloud-config", "#!", "#include", "Content-Type:", "## template:")):
        raise MediaError("cloud-init takes user data by its first line", hint="begin it with #cloud-config")
    files = {"/user-data": user_data.encode(), "/meta-data": meta_data.encode()}
    if network is not None:
        files["/network-config"] = network.encode()
    return Volume(NOCLOUD_LABEL, files)


def host_volume(label: str, answers: Iterable[Answer], own: Iterable[File]) -> Volume | None:
    """What goes beside a medium: answers that the installer finds by the volume's label, and below /seed the files of
    this host alone. None when there is neither."""
    files = {f"/{answer.name}": answer.content.encode() for answer in answers if answer.delivery == "volume"}
    modes: dict[str, int] = {}
    for file in own:
        path = f"/seed/{file.path.lstrip('/')}"
        files[path], modes[path] = file.content.encode(), file.mode
    return Volume(label, files, modes) if files else None


def author(volume: Volume, *, when: int = DATE) -> bytes:
    """The image: ISO 9660 with Rock Ridge and Joliet, so that every system sees the same names.

    All its dates are `when` (seconds since 1970), so that the same files give the same bytes. Raises MediaError for
    labels and paths that a volume cannot carry.
    """
    if not _LABEL.match(volume.label):
        raise MediaError(
            f"{volume.label!r} cannot be a volume's label everywhere", hint="up to 16 letters, digits, '_', '-' or '.'"
        )
    disc = pycdlib.PyCdlib()
    try:
        disc.new(interchange_level=3, vol_ident=volume.label, rock_ridge="1.09", joliet=3)
        _fill(disc, volume)
        out = io.BytesIO()
        disc.write_fp(out)
    except (PyCdlibException, UnicodeError) as error:
        raise MediaError(f"the volume cannot be made: {error}", hint="use shorter and plainer paths") from None
    finally:
        disc.close()
    return _dated(out.getvalue(), when)


def write_volume(volume: Volume, target: Path) -> None:
    """Author a volume into a file, whole or not at all. Answers may hold secrets: only the owner can read it.

    Raises MediaError as `author` does, and when the file cannot be written.
    """
    image = author(volume)
    try:
        write_atomic(plain_target(target), image, mode=0o600)
    except OSError as error:
        raise write_failed(error, target, len(image)) from None


def _fill(disc: pycdlib.PyCdlib, volume: Volume) -> None:
    taken: dict[str, str] = {}
    used: set[str] = set()
    for path, content in sorted(volume.files.items()):
        names = parts(path)
        if not names:
            raise MediaError("a file of the volume has no name", hint="write its path, such as /ks.cfg")
        above, plain = "", ""
        for name in names[:-1]:
            above = f"{above}/{name}"
            if above not in taken:
                taken[above] = f"{plain}/{_plain(plain, name, used, 8)}"
                # Installers copy the folders' modes onto the host's; sshd refuses keys where others may enter.
                mode = stat.S_IFDIR | (0o700 if name in _PRIVATE else 0o755)
                disc.add_directory(taken[above], rr_name=name, joliet_path=above, file_mode=mode)
            plain = taken[above]
        stem, dot, ext = names[-1].rpartition(".")
        ident = _plain(plain, stem if dot and stem else names[-1], used, 8)
        suffix = _capitals(ext)[:3] if dot and stem else ""
        disc.add_fp(
            io.BytesIO(content), len(content), f"{plain}/{ident}.{suffix};1",
            rr_name=names[-1], joliet_path="/" + "/".join(names),
            file_mode=stat.S_IFREG | volume.modes.get(path, 0o444),
        )  # fmt: skip


def _capitals(text: str) -> str:
    return "".join(c if c.isascii() and c.isalnum() else "_" for c in text.upper())


def _plain(folder: str, name: str, used: set[str], limit: int) -> str:
    """A name of the standard's alphabet that is not used in the folder yet."""
    stem = _capitals(name)[:limit]
    candidate, number = stem, 0
    while f"{folder}/{candidate}" in used:
        number += 1
        candidate = stem[: limit - len(str(number))] + str(number)
    used.add(f"{folder}/{candidate}")
    return candidate


@dataclass(frozen=True, slots=True)
class _Blob:
    """An image in memory, to be read like a medium."""

    image: bytes
    path: Path = Path("volume")

    @property
    def size(self) -> int:
        return len(self.image)

    def read(self, offset: int, length: int) -> bytes:
        return self.image[offset : offset + length]


def _dated(image: bytes, when: int) -> bytes:
    """The image with one date everywhere: pycdlib always takes the clock's."""
    date = time.gmtime(when)
    stamp = bytes((date.tm_year - 1900, date.tm_mon, date.tm_mday, date.tm_hour, date.tm_min, date.tm_sec, 0))
    long = time.strftime("%Y%m%d%H%M%S00", date).encode() + b"\0"
    out = bytearray(image)
    for tree in open_medium(_Blob(image)).trees:
        out[tree.descriptor + 174 : tree.descriptor + 181] = stamp
        for place in (813, 830, 864):  # created, modified, in effect from
            if out[tree.descriptor + place : tree.descriptor + place + 16].strip(b"0\0"):
                out[tree.descriptor + place : tree.descriptor + place + 17] = long
        for folder in tree.index().dirs.values():
            for record in tree.load(folder):
                out[record.offset + 18 : record.offset + 25] = stamp
                start = record.offset + record.susp_start + tree.skip
                for at, signature, entry in entries(record.system_use(tree.skip)):
                    if signature == b"TF" and not entry[4] & 0x80:
                        out[start + at + 5 : start + at + len(entry)] = stamp * ((len(entry) - 5) // 7)
    return bytes(out)
