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

from builder.paths import Places, locked
from builder.run import run
from ci.debian_installer.components import ComponentsApt
from tests.support.debian import Case
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


def components(release: str) -> Path:
    """A folder with each component's files in a folder of its name. Needs the network the first time only."""
    cache = Places.from_environment(os.environ).cache / "test-packages"
    folder = cache / f"{release}-installer-{len(COMPONENTS[release])}"
    with locked(folder.with_name(f"{folder.name}.lock")):
        if not folder.exists():
            partial = folder.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            files = ComponentsApt(release, "main").bring(COMPONENTS[release])
            assert len(files) == len(COMPONENTS[release]), f"apt has only {sorted(files)}"
            for name, file in files.items():
                (partial / name).mkdir(parents=True)
                run(["dpkg", "-x", file, partial / name])
                run(["dpkg", "-e", file, partial / name / "DEBIAN"])
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


def stubbed(tree: Path, names: Sequence[str]) -> None:
    """Programs that write down how they were called, and do nothing."""
    for name in names:
        (tree / "stubs" / name).write_text(f'#!/bin/sh\necho {name} "$@" >>/tmp/calls\n')
        (tree / "stubs" / name).chmod(0o755)


def in_initrd(tree: Path, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run by the shell of an initrd, with what is in its /stubs first."""
    return subprocess.run(
        ["chroot", tree, "/bin/sh", "-c", script, "sh", *arguments],
        capture_output=True, text=True, check=False, timeout=60,
        env={"PATH": "/stubs:/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL": "C"},
    )  # fmt: skip


def fresh(tree_of: Path, case: Case, into: Path) -> Path:
    """An initrd of a test's own, with the case's answers in it, its disks, and a file for a console."""
    tree = into / "initrd"
    subprocess.run(["cp", "-al", tree_of, tree], check=True)
    for path, text in case.answers.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_text(text)
    for folder in ("stubs", "dev", "target/etc/network"):
        (tree / folder).mkdir(parents=True, exist_ok=True)
    (tree / "dev/console").unlink(missing_ok=True)
    for disk in (tree / path.removeprefix("/") for path in case.values["partman-auto/disk"].split()):
        disk.parent.mkdir(parents=True, exist_ok=True)
        disk.touch()
    return tree


def told(tree: Path) -> list[str]:
    """Marks on the console since the last look."""
    console = tree / "dev/console"
    if not console.exists():
        return []
    marks = re.findall(r"^nestlab: (.*)$", console.read_text(), re.MULTILINE)
    console.unlink()
    return marks
