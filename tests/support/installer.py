"""The Debian installer's own pieces as judges: its initrd, and components (udebs) fetched by apt, never installed."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from builder.images.hosts import read_host
from builder.images.packages import AptRoot
from builder.paths import Places, locked
from builder.run import run
from tests.support.debs import unpacked

NETBOOT = {release: f"debian-installer-{release}-netboot-amd64" for release in ("12", "13")}
_ALWAYS = (
    "partman-auto", "partman-auto-lvm", "partman-base", "partman-lvm", "partman-md", "pkgsel", "base-installer",
    "bootstrap-base", "popularity-contest",
)  # fmt: skip
COMPONENTS: Mapping[str, tuple[str, ...]] = {
    "12": _ALWAYS,
    "13": (
        *_ALWAYS, "partman-auto-raid", "partman-efi", "partman-partitioning", "partman-target", "partman-ext3",
        "partman-basicfilesystems", "partman-basicmethods", "grub-installer", "user-setup-udeb", "clock-setup",
        "tzsetup-udeb", "apt-setup-udeb", "apt-mirror-setup", "apt-cdrom-setup", "cdrom-detect", "finish-install",
        "tasksel",
    ),
}  # fmt: skip
"""What mirrors still have of each release: of 12 most were superseded, and are gone."""


class _Components(AptRoot):
    """apt with the installer's own component beside the release's."""

    def fetch(self, names: Sequence[str], into: Path) -> None:
        """Content and, in DEBIAN/, control files of each below a folder of its name."""
        self.refresh()
        archives = self._root / "cache/archives"
        wanted = self._uris(names)
        self._apt("apt-get", "download", "-q", *wanted, cwd=archives, timeout=1800)
        assert len(wanted) == len(names), f"apt has only {sorted(wanted)}"
        for name, file in wanted.items():
            (into / name).mkdir(parents=True)
            run(["dpkg", "-x", archives / file, into / name])
            run(["dpkg", "-e", archives / file, into / name / "DEBIAN"])


def components(release: str) -> Path:
    """A folder with each component's files in a folder of its name. Needs the network the first time only."""
    cache = Places.from_environment(os.environ).cache / "test-packages"
    folder = cache / f"{release}-installer-{len(COMPONENTS[release])}"
    with locked(folder.with_name(f"{folder.name}.lock")):
        if not folder.exists():
            partial = folder.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            host = read_host(mirror=os.environ.get("NESTLAB_DEBIAN_MIRROR"), tools=False)
            own = tuple(
                source.model_copy(update={"components": ("main", "main/debian-installer")})
                for source in host.sources if not source.pocket
            )  # fmt: skip
            apt = _Components(cache / "apt", host.model_copy(update={"sources": own}), release)
            apt.fetch(COMPONENTS[release], partial)
            partial.rename(folder)
    return folder


def initrd(release: str, into: Path) -> Path:
    """The netboot initrd of that release, unpacked."""
    packed = next(unpacked(release, (NETBOOT[release],)).rglob("text/**/initrd.gz"))
    into.mkdir(parents=True)
    subprocess.run(
        ["cpio", "-idm", "--quiet", "--no-absolute-filenames"],
        input=gzip.decompress(packed.read_bytes()), cwd=into, capture_output=True, check=False,
    )  # fmt: skip
    assert (into / "bin/debconf-set-selections").exists()
    return into


@dataclass(frozen=True, slots=True)
class Template:
    """`choices` are those that stand in the template, without those that it gets when it is asked."""

    kind: str
    choices: tuple[str, ...]
    title: str


def templates(release: str, tree: Path) -> dict[str, Template]:
    """Every template of the initrd at `tree` and of the components, by name."""
    files = [*tree.glob("var/lib/dpkg/info/*.templates"), *components(release).glob("*/DEBIAN/templates")]
    assert len(files) > 25
    return {name: template for file in files for name, template in _read(file.read_text("utf-8"))}


def _read(text: str) -> Iterator[tuple[str, Template]]:
    for block in re.split(r"\n\s*\n", text):
        fields = dict(re.findall(r"^(Template|Type|Choices|Choices-C|Description): ?(.*)$", block, re.MULTILINE))
        if "Template" in fields:
            said = fields.get("Choices-C") or fields.get("Choices") or ""
            choices = tuple(word.strip() for word in said.split(",") if word.strip())
            yield fields["Template"].strip(), Template(fields["Type"].strip(), choices, fields.get("Description", ""))
