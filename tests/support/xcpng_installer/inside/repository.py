"""Where the host's files come from: a repository on a medium or at an address, known by `.treeinfo` and repomd.xml."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from .answers import Source
from .tools import Tools

TREEINFO = ".treeinfo"
REPOMD = "repodata/repomd.xml"
ROOT = "Packages/stand-in-root.tar"
"""Everything that is installed, as one archive: this repository holds no packages."""
_MEDIA = ("sr", "sd", "nvme", "vd", "xvd")


def is_whole(folder: Path) -> bool:
    return (folder / TREEINFO).is_file() and (folder / REPOMD).is_file()


@contextmanager
def opened(tools: Tools, source: Source, scratch: Path) -> Iterator[Path]:
    """A folder with the repository's files. Raises RuntimeError when there is none."""
    if source.kind == "local":
        for device in media():
            if not tools.tries("mount", "-o", "ro", "-t", "iso9660", device, _made(scratch / "medium")):
                continue
            try:
                if is_whole(scratch / "medium"):
                    tools.log(f"Repository found on {device}")
                    yield scratch / "medium"
                    return
            finally:
                tools.run("umount", scratch / "medium")
        raise RuntimeError("Unable to access repository (local, Install disc)")
    folder = _made(scratch / "fetched")
    try:
        for name in (TREEINFO, REPOMD, ROOT) if source.kind == "url" else ():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            tools.fetch(f"{source.address.rstrip('/')}/{name}", folder / name)
    except (OSError, RuntimeError) as error:
        tools.log(str(error))
    if not is_whole(folder):
        raise RuntimeError(f"Unable to access repository ({source.kind}, {source.address})")
    yield folder


def media() -> Sequence[str]:
    """Every device that a medium may be in, partitions too: a medium on USB is a disk."""
    names = sorted(entry.name for entry in Path("/sys/class/block").iterdir())
    return [f"/dev/{name}" for kind in _MEDIA for name in names if name.startswith(kind)]


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
