"""GRUB's own tools as judges of a boot configuration: grub-mkconfig over a tree, grub-script-check, and a reader of
what came out that knows nothing of how we write arguments."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from builder.model.plan import File
from builder.run import run
from tests.support.debs import unpacked
from tests.support.repo import ROOT

XEN = {"12": "xen-hypervisor-4.17-amd64", "13": "xen-hypervisor-4.20-amd64"}
KERNEL = "6.1.0-0-amd64"
STAND_INS = ROOT / "builder/images/disk"
ROOT_UUID = "6e6c6162-0000-4000-8000-000000000001"

# What grub-pc's installation leaves in /etc/default/grub.
STOCK = """\
GRUB_DEFAULT=0
GRUB_TIMEOUT=5
GRUB_DISTRIBUTOR=`lsb_release -i -s 2> /dev/null || echo Debian`
GRUB_CMDLINE_LINUX_DEFAULT="quiet"
GRUB_CMDLINE_LINUX=""
"""

# A mount namespace of its own: 20_linux_xen looks for kernels in /boot and nowhere else. What lies below has no disk
# that grub-probe could tell of when it is in memory or in a container: the programs that stand in for it when an image
# is built do so here.
_MKCONFIG = """\
set -e
mount --make-rprivate /
mount --bind "$1/grub-probe" "$(command -v grub-probe)"
mount --bind "$1/grub-mkrelpath" "$(command -v grub-mkrelpath)"
mount --bind "$1/boot" /boot
mount --bind "$1/etc/default" /etc/default
mount --bind "$1/etc/grub.d" /etc/grub.d
mount --bind "$1/usr/share/grub" /usr/share/grub
exec sh "$1/usr/sbin/grub-mkconfig"
"""


def host_tree(folder: Path, release: str, files: Sequence[File], *, stock: bool = True, efi: bool = False) -> Path:
    """A tree like an installed host's: real hypervisor and GRUB scripts of the release, and these files over it.

    The kernel and its initrd are empty files: grub-mkconfig looks at their names and at the kernel's configuration.
    """
    packages = unpacked(release, ("grub-common", "xen-hypervisor-common", XEN[release]))
    shutil.copytree(packages, folder, symlinks=True)
    boot = folder / "boot"
    (boot / "grub").mkdir()
    (boot / f"vmlinuz-{KERNEL}").write_bytes(b"")
    (boot / f"initrd.img-{KERNEL}").write_bytes(b"")
    (boot / f"config-{KERNEL}").write_text("CONFIG_XEN_DOM0=y\n")
    if not efi:
        next(boot.glob("xen-*.efi")).unlink()
    if stock:
        (folder / "etc/default/grub").write_text(STOCK)
    for file in files:
        path = folder / file.path.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file.content)
    return folder


@dataclass(frozen=True, slots=True)
class Written:
    """What grub-mkconfig wrote, and what it said meanwhile."""

    config: str
    said: str


def grub_mkconfig(tree: Path) -> Written:
    """Runs the release's own grub-mkconfig on the tree. Needs root."""
    for name in ("grub-probe", "grub-mkrelpath"):
        (tree / name).write_text((STAND_INS / name).read_text().replace("@ROOT_UUID@", ROOT_UUID))
        (tree / name).chmod(0o755)
    result = run(["unshare", "--mount", "sh", "-c", _MKCONFIG, "sh", tree], timeout=60)
    return Written(result.stdout, result.stderr)


def grub_complains(config: str) -> str:
    """What grub-script-check has against it; nothing when it is well-formed."""
    done = subprocess.run(
        ["grub-script-check", "/dev/stdin"], input=config, capture_output=True, text=True, check=False
    )
    return done.stderr if done.returncode else ""


def default_entry(config: str) -> list[list[str]]:
    """The commands, as words, of the entry that GRUB boots when nobody is there."""
    wanted = re.findall(r'^   set default="(.*)"$', config, re.MULTILINE)[-1]
    entries = dict(_entries(config))
    assert wanted in entries, f"{wanted!r} is the default, but the entries are {list(entries)}"
    return entries[wanted]


def command(entry: list[list[str]], *start: str) -> list[str]:
    """The words after `start` of the one command in the entry that begins with it. The last word of `start` is a file,
    named from /boot on: what is before that is where the tree lies on this machine."""
    *before, file = start
    count = len(start)
    found = [
        words[count:]
        for words in entry
        if words[: count - 1] == before and words[count - 1 : count] and words[count - 1].endswith(file)
    ]
    assert len(found) == 1, f"{start} occurs {len(found)} times in {entry}"
    return found[0]


def _entries(config: str) -> Iterator[tuple[str, list[list[str]]]]:
    title: str | None = None
    commands: list[list[str]] = []
    for line in config.splitlines():
        words = grub_split(line)
        if words[:1] == ["menuentry"]:
            title, commands = words[1], []
        elif words == ["}"] and title is not None:
            yield title, commands
            title = None
        elif title is not None and words:
            commands.append(words)


def grub_split(line: str) -> list[str]:
    """Words of one line by the rules of GRUB's lexer (grub manual, 'Quoting'); variables are left as they stand."""
    words: list[str] = []
    current: str | None = None
    position = 0
    while position < len(line):
        character = line[position]
        if character == "\\":
            position += 1
            current = (current or "") + line[position]
        elif character == "'":
            end = line.index("'", position + 1)
            current = (current or "") + line[position + 1 : end]
            position = end
        elif character == '"':
            end = line.index('"', position + 1)
            current = (current or "") + line[position + 1 : end]
            position = end
        elif character.isspace():
            if current is not None:
                words.append(current)
            current = None
        elif character == "#" and current is None:
            break
        else:
            current = (current or "") + character
        position += 1
    if current is not None:
        words.append(current)
    return words
