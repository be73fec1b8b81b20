"""All that tells how a lab fares, in one folder: the files of its keeper, and what its hosts themselves can say."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from builder.errors import LabError, UsageError
from builder.lifecycle.evidence import blanked, copy_blanked, copy_evidence
from builder.lifecycle.status import slower_by, status
from builder.lifecycle.world import LabWorld
from builder.model.host import Host
from builder.paths import Places, fsync_dir, hidden_prefix

_TRUNCATED = 5000  # lines of a log of the host: the newest

# What a host is asked, by its dialect: the name of the answer, and the shell's words. What a host has no program for is
# left out.
_UNIX = {
    "boot-arguments.txt": "cat /proc/cmdline",
    "kernel.log": "dmesg",
    "disks.txt": "exec 2>/dev/null; df -h; lsblk -o NAME,SIZE,TYPE,FSTYPE,MOUNTPOINT,SERIAL; cat /proc/mdstat; true",
    "network.txt": "exec 2>/dev/null; ip -d address || ip address; ip route; bridge -d link; true",
    "processes.txt": "ps axfu 2>/dev/null || ps",
}
_LINUX = _UNIX | {"journal.log": f"command -v journalctl >/dev/null && journalctl --boot --no-pager -n {_TRUNCATED}"}
_XL = {
    "xen.txt": "xl info; xl list -v; xl vcpu-list",
    "xen.log": "xl dmesg",
    "xenstore.txt": "xenstore-ls -f",
    "xen-guests.log": f"tail -v -n {_TRUNCATED} /var/log/xen/*.log",
}
QUESTIONS: Mapping[str, Mapping[str, str]] = {
    "none": _LINUX,
    "xl": _LINUX | _XL,
    "xe": _LINUX | _XL | {
        "xapi.txt": "for each in host vm sr pif network; do xe $each-list params=all; done",
        "xapi.log": f"tail -v -n {_TRUNCATED} /var/log/xensource.log /var/log/SMlog",
    },
}  # fmt: skip
_SECONDS = 60.0
"""For an answer, on hardware."""
_NOTHING = 127
"""The shell's status for a program that is not there."""


@dataclass(frozen=True, slots=True)
class Collected:
    """`files` are paths below `folder`. `silent` says of each host that was not asked, or broke off, why."""

    lab: str
    folder: Path
    files: tuple[str, ...]
    silent: Mapping[str, str]


def collect(lab: str, places: Places, out: Path, *, tell: Callable[[str], None] = lambda _: None) -> Collected:
    """Put all that tells of a lab into a folder of its own: of one that is up its files and what its hosts answer, of
    one that did not come up what its failure left. Secrets that can be told are blanked. The folder appears whole, and
    is its owner's alone: consoles, logs and pictures may hold anything. `tell` hears the name of each host that is
    asked.

    Raises UsageError when `out` is there already, LabError for a lab that is neither, and for a folder that cannot be.
    """
    if out.exists() or out.is_symlink():
        raise UsageError(f"{out} is there already", hint="name a new folder by --out")
    up = places.lab(lab).is_dir()
    failed = places.state / "failures" / lab
    if not up and not failed.is_dir():
        raise LabError(f"lab {lab} is not up, and no failure of it was kept", hint="`nestlab ls` lists those that are")
    silent: dict[str, str] = {}
    with _appearing(out) as made:
        if up:
            copy_evidence(places.lab(lab), made)
            found, world = status(lab, places), LabWorld(lab, places)
            for node in found.nodes:
                if node.state != "ready":
                    silent[node.name] = node.cause or node.state
                    continue
                tell(node.name)
                _ask(world.host(node.name), made / "nodes" / node.name, slower_by(found), silent)
        else:
            shutil.copytree(failed, made, dirs_exist_ok=True, copy_function=copy_blanked)
    files = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
    return Collected(lab, out, tuple(files), silent)


@contextlib.contextmanager
def _appearing(out: Path) -> Iterator[Path]:
    """A folder that takes its name when the block ends well, and is gone when it does not."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(dir=out.parent, prefix=hidden_prefix(out)))
    except OSError as error:
        raise LabError(f"{out.parent} cannot be written: {error.strerror}", hint="--out names another folder") from None
    try:
        yield made
        made.chmod(0o700)
        made.rename(out)
    except OSError as error:
        raise LabError(f"{out} cannot be written: {error.strerror}", hint="--out names another folder") from None
    finally:
        shutil.rmtree(made, ignore_errors=True)
    fsync_dir(out.parent)


def _ask(host: Host, folder: Path, patience: float, silent: dict[str, str]) -> None:
    """Every question of the host's dialect; none more after one that it does not answer at all."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        for name, words in QUESTIONS.get(host.facts().dialect, _LINUX).items():
            said = host.run(["sh", "-c", words], timeout=_SECONDS * patience)
            if said.returncode == _NOTHING and not said.stdout:
                continue
            ended = "" if said.ok else f"{said.stderr}(ended with status {said.returncode})\n"
            if said.stdout or said.stderr:
                (folder / name).write_text(blanked(said.stdout + ended), "utf-8")
    except LabError as error:
        silent[folder.name] = str(error)
