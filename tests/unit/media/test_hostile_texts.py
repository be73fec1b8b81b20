"""Files of a medium that are made to be read for hours: blanks that an expression tries in every way, menus without
end. Each is answered or refused within two seconds of the processor's time."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.media.edits import Arguments, Edit, Overlay, Put
from builder.media.errors import MediaError
from builder.media.initrd import OverlayFile
from builder.media.inspect import inspect
from builder.media.plan import plan_edits
from tests.support.pace import assert_quick
from tests.unit.media import made

BLANKS = b" " * 60_000
EDITS: list[Edit] = [
    Put("/readme.txt", b"other\n"), Arguments(kernel=("x",)), Overlay((OverlayFile("/a", b"b"),)),
]  # fmt: skip
ANSWERED: dict[str, dict[str, bytes]] = {
    "treeinfo": {"/.treeinfo": b"[general]\na" + BLANKS + b"b\n"},
    "treeinfo without an end": {"/.treeinfo": b"[general]\na" + BLANKS},
    "checksums of treeinfo": {"/.treeinfo": b"[checksums]\na" + BLANKS + b"b" + BLANKS[:5000] + b"\n"},
    "checksums": {"/md5sum.txt": b"0" * 32 + b"  x" + b" " * 900_000 + b"y\n"},
    "checksums of nothing": {"/md5sum.txt": b"".join(b"%032d  a%d\n" % (n, n) for n in range(25_000))},
    "disk info": {"/.disk/info": b"a " * 30_000},
    "products": {"/media.1/products": b"/ a " * 15_000},
    "menu of empty lines": {"/x.cfg": b"\n" * 65_000, "/y.cfg": b" \n" * 32_000},
    "GRUB's lines": {"/boot/grub/grub.cfg": b"menuentry x {\n" + b"linux /x a\n" * 5000},
    "GRUB's modules": {"/boot/grub/grub.cfg": b"multiboot /xen\nmodule /k\n" + b"module /a\n" * 6000},
    "GRUB's quotes": {"/boot/grub/grub.cfg": b"linux /x " + b"'\"\\" * 20_000 + b"\n"},
}
REFUSED: dict[str, tuple[dict[str, bytes], str]] = {
    "menus": (
        {f"/m/{n}.cfg": b"menuentry x {\nlinux /x a\n}\n" * 2000 + b"#%d" % n for n in range(12)}, "like boot menus"
    ),
    "files called like menus": (
        {f"/m/{n}.cfg": b"x y z\n" * 10_000 + b"#%d" % n for n in range(150)}, "like boot menus"
    ),
    "initrds": (
        {
            **{f"/i/{n}": b"\x1f\x8b%d" % n for n in range(300)},
            "/boot/grub/grub.cfg": b"linux /x\n" + b"".join(b"initrd /i/%d\n" % n for n in range(300)),
        },
        "more than 256 initrds",
    ),
}  # fmt: skip


def medium(files: dict[str, bytes], tmp_path: Path) -> Path:
    return made.iso(tmp_path / "hostile.iso", {**made.FILES, **files})


@pytest.mark.parametrize("name", ANSWERED)
def test_texts_are_read_in_one_go(name: str, tmp_path: Path) -> None:
    iso = medium(ANSWERED[name], tmp_path)
    with assert_quick(2):
        inspect(iso)
        plan_edits(iso, EDITS)


@pytest.mark.parametrize("name", REFUSED)
def test_more_than_could_be_honest(name: str, tmp_path: Path) -> None:
    files, message = REFUSED[name]
    iso = medium(files, tmp_path)
    for act in (lambda: inspect(iso), lambda: plan_edits(iso, EDITS)):
        with assert_quick(2), pytest.raises(MediaError, match=message) as caught:
            act()
        assert caught.value.hint
