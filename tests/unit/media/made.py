"""Small media for tests that need no program. Made by pycdlib, which is not the reader under test."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import pycdlib
from pycdlib.dr import DirectoryRecord

from builder.media.plan import GraftPlan

MENU = b"label linux\n  kernel vmlinuz\n  append initrd=initrd.img quiet\n"
FILES: dict[str, bytes] = {
    "/isolinux/isolinux.cfg": MENU,
    "/isolinux/vmlinuz": b"kernel" * 1000,
    "/isolinux/initrd.img": b"\x1f\x8b" + bytes(range(256)) * 30,
    "/isolinux/isolinux.bin": b"boot" * 700,
    "/readme.txt": b"read me\n",
    "/empty": b"",
}


def iso(path: Path, files: Mapping[str, bytes] = FILES, *, boot: bool = True, joliet: bool = True) -> Path:
    """An image with Rock Ridge, and El Torito when there is an isolinux.bin."""
    disc = pycdlib.PyCdlib()
    disc.new(interchange_level=3, vol_ident="MADE", rock_ridge="1.09", joliet=3 if joliet else None)
    folders: set[str] = set()
    for number, (name, content) in enumerate(files.items()):
        parts = name.strip("/").split("/")
        plain = ""
        for depth, part in enumerate(parts[:-1]):
            plain += "/" + re.sub(r"[^A-Z0-9]", "_", part.upper())[:8]
            if plain not in folders:
                folders.add(plain)
                above = "/" + "/".join(parts[: depth + 1])
                disc.add_directory(plain, rr_name=part, joliet_path=above if joliet else None)
        disc.add_fp(
            io.BytesIO(content),
            len(content),
            f"{plain}/F{number}.;1",
            rr_name=parts[-1],
            joliet_path=name if joliet else None,
        )
    if boot and "/isolinux/isolinux.bin" in files:
        number = list(files).index("/isolinux/isolinux.bin")
        disc.add_eltorito(f"/ISOLINUX/F{number}.;1", bootcatfile="/ISOLINUX/BOOT.CAT;1", rr_bootcatname="boot.cat")
    disc.write(str(path))
    disc.close()
    return path


def contents(path: Path, names: Iterable[str]) -> dict[str, bytes]:
    """Files as pycdlib reads them by their Rock Ridge names."""
    disc = pycdlib.PyCdlib()
    disc.open(str(path))
    found = {}
    try:
        for name in names:
            out = io.BytesIO()
            disc.get_file_from_iso_fp(out, rr_path=name)
            found[name] = out.getvalue()
    finally:
        disc.close()
    return found


def content(path: Path, name: str) -> bytes:
    return contents(path, [name])[name]


def mode(path: Path, name: str) -> int:
    """A file's permission bits as pycdlib reads them."""
    disc = pycdlib.PyCdlib()
    disc.open(str(path))
    try:
        record = disc.get_record(rr_path=name)
        assert isinstance(record, DirectoryRecord) and record.rock_ridge is not None
        return int(record.rock_ridge.get_file_mode()) & 0o777
    finally:
        disc.close()


def planned(plan: GraftPlan) -> bytes:
    """The image that a plan makes."""
    with plan.open() as image:
        return b"".join(image.pieces(0, image.size))
