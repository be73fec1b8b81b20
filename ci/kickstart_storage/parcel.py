"""What the test machine has no package for, as one tar: blivet, pykickstart, our own programs, anaconda if it is there.

anaconda is on no index of packages. Its storage service runs from a checkout of its source, of a version that goes with
the pykickstart of ci/requirements.lock and the blivet of blivet.txt (anaconda-40.22.3.34 does, which is Enterprise
Linux 10's); the folder is named by the environment variable NESTLAB_ANACONDA.
"""

from __future__ import annotations

import io
import os
import re
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pykickstart

from builder.run import run
from ci.proof import OUT

INSIDE = Path(__file__).parent / "inside"
REQUIREMENTS = Path(__file__).parent / "blivet.txt"
VARIABLE = "NESTLAB_ANACONDA"


@dataclass(frozen=True, slots=True)
class Anaconda:
    """A checkout of anaconda's source."""

    folder: Path

    @property
    def version(self) -> str:
        found = re.search(r"AC_INIT\(\[anaconda\], \[([\d.]+)\]", (self.folder / "configure.ac").read_text("utf-8"))
        return found[1] if found else "unknown"

    @property
    def handler(self) -> str:
        """pykickstart's name of the release that this anaconda installs: RHEL10."""
        text = (self.folder / "pyanaconda/core/kickstart/version.py").read_text("utf-8")
        found = re.search(r"^from pykickstart\.version import (\w+) as VERSION", text, re.MULTILINE)
        return found[1] if found else "unknown"

    def contents(self) -> Iterator[tuple[str, bytes]]:
        yield "anaconda.conf", (self.folder / "data/anaconda.conf").read_bytes()
        # made by its build
        version = f'__version__ = "{self.version}"\n__build_time_version__ = __version__\n'
        yield "pyanaconda/version.py", version.encode()
        package = self.folder / "pyanaconda"
        for path in sorted(package.rglob("*.py")):
            if path.relative_to(package).parts[0] != "ui":
                yield f"pyanaconda/{path.relative_to(package)}", path.read_bytes()


def anaconda_here() -> Anaconda | None:
    """Raises FileNotFoundError when the variable names a folder without anaconda's source."""
    named = os.environ.get(VARIABLE)
    if not named:
        return None
    if not (Path(named) / "pyanaconda/modules/storage").is_dir():
        raise FileNotFoundError(f"{VARIABLE}: no source of anaconda in {named}")
    return Anaconda(Path(named))


def parcel(kickstart: str, anaconda: Anaconda | None) -> bytes:
    """A tar with everything below `carry/`."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in _contents(kickstart, anaconda):
            entry = tarfile.TarInfo(f"carry/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def _contents(kickstart: str, anaconda: Anaconda | None) -> Iterator[tuple[str, bytes]]:
    yield "ks.cfg", kickstart.encode()
    for path in sorted(INSIDE.iterdir()):
        if path.is_file():
            yield path.name, path.read_bytes()
    with zipfile.ZipFile(blivet_wheel()) as wheel:
        for name in wheel.namelist():
            if name.startswith("blivet/"):
                yield name, wheel.read(name)
    package = Path(pykickstart.__file__).parent
    for path in sorted(package.rglob("*.py")):
        yield f"pykickstart/{path.relative_to(package)}", path.read_bytes()
    if anaconda is not None:
        yield from anaconda.contents()


def blivet_wheel() -> Path:
    """From what an earlier run got, else by pip. Raises CommandFailed."""
    folder = OUT / "wheels"
    wanted = re.search(r"^blivet==(\S+)", REQUIREMENTS.read_text("utf-8"), re.MULTILINE)
    assert wanted is not None
    wheel = folder / f"blivet-{wanted[1]}-py3-none-any.whl"
    if not wheel.exists():
        folder.mkdir(parents=True, exist_ok=True)
        options: list[str | Path] = ["--quiet", "--no-deps", "--require-hashes", "--dest", folder]
        run(
            [sys.executable, "-m", "pip", "download", *options, "--requirement", REQUIREMENTS],
            timeout=300, hint="blivet is downloaded once; after that it is in ci/out/wheels",
        )  # fmt: skip
    return wheel
