"""Its medium, made once into the cache: Debian's kernel, the tiny system's memory root, isolinux."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import tempfile
from pathlib import Path

import builder
from builder.events import EventLog
from builder.images.build import build
from builder.images.cpio import Archive
from builder.images.hosts import read_host
from builder.images.store import Image, ImageStore
from builder.images.tiny import ARGUMENTS
from builder.model.plan import Recipe
from builder.paths import Places, locked
from builder.systems.tiny.system import MODULES
from tests.integration.media_sources import ISOLINUX, sh
from tests.integration.media_sources import MODULES as SYSLINUX
from tests.support.debs import unpacked

HERE = Path(__file__).parent
RELEASE = "13"
SEED_SECTOR = (64 << 20) // 512
"""Where on the installed disk the host's own files are; what starts it is smaller."""


def tiny_medium() -> Path:
    """The medium, in the user's cache. Needs the network the first time."""
    places = Places.from_environment(os.environ)
    image = _image(places)
    parts = [image.key, *(path.read_text() for path in sorted(HERE.iterdir()) if path.is_file())]
    name = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]
    medium = places.cache / "test-packages" / f"tiny-installer-{name}.iso"
    with locked(medium.with_suffix(".lock")):
        if not medium.exists():
            with tempfile.TemporaryDirectory(dir=medium.parent) as scratch:
                _make(image, Path(scratch)).rename(medium)
    return medium


def _image(places: Places) -> Image:
    mirror = os.environ.get("NESTLAB_DEBIAN_MIRROR")
    recipe = Recipe(kind="initramfs", release=RELEASE, modules=(*MODULES, "sr_mod", "isofs"))
    log = EventLog("tests", None)
    host = read_host(mirror=mirror, tools=False)
    return build(recipe, host, ImageStore(places.cache), work=places.cache / "work", emit=log.emit)


def _make(image: Image, scratch: Path) -> Path:
    assert image.initrd is not None
    manifest = json.loads((image.initrd.parent / "manifest.json").read_text())
    package = next(name for name in manifest["inputs"]["packages"] if name.startswith("linux-image-")).partition("_")[0]
    kernel = next(unpacked(RELEASE, (package,)).glob("boot/vmlinuz-*"))
    host = _iso(scratch / "host", kernel, _initrd(image.initrd, "host"), {})
    return _iso(scratch / "medium", kernel, _initrd(image.initrd, "install"), {"payload": host.read_bytes()})


def _initrd(base: Path, script: str) -> bytes:
    """The tiny system's, whose /init does something more when the drivers are loaded."""
    init = (Path(builder.__file__).parent / "images/tiny/init").read_text()
    more = (HERE / script).read_text().replace("$SEED_SECTOR", str(SEED_SECTOR))
    more = more.replace("SEED_SECTOR", str(SEED_SECTOR))
    changed, count = re.subn(r"^nestlab_load_drivers$", "nestlab_load_drivers\n. /lib/nestlab/more", init, flags=re.M)
    assert count == 1
    out = io.BytesIO()
    archive = Archive(out)
    archive.file("init", changed.encode(), 0o755)
    archive.file("lib/nestlab/more", more.encode())
    archive.close()
    data = base.read_bytes()
    return data + b"\0" * (-len(data) % 512) + out.getvalue()


def _iso(root: Path, kernel: Path, initrd: bytes, more: dict[str, bytes]) -> Path:
    """A medium that starts from CD and from disk: as a whole it is also what is written to the host's disk."""
    (root / "isolinux").mkdir(parents=True)
    for source in (ISOLINUX / "isolinux.bin", SYSLINUX / "ldlinux.c32"):
        shutil.copy(source, root / "isolinux")
    shutil.copy(kernel, root / "vmlinuz")
    (root / "initrd").write_bytes(initrd)
    for name, content in more.items():
        (root / name).write_bytes(content)
    append = " ".join(ARGUMENTS)
    (root / "isolinux/isolinux.cfg").write_text(
        f"default linux\nlabel linux\n  kernel /vmlinuz\n  append initrd=/initrd {append}\n"
    )
    out = root.with_suffix(".iso")
    sh(
        "xorriso", "-as", "mkisofs", "-quiet", "-r", "-V", "TINYINST", "-o", out, "-isohybrid-mbr",
        ISOLINUX / "isohdpfx.bin", "-b", "isolinux/isolinux.bin", "-c", "isolinux/boot.cat", "-boot-load-size", "4",
        "-boot-info-table", "-no-emul-boot", root,
    )  # fmt: skip
    return out
