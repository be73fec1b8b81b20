"""Remastering beside `cp` and beside what other tools do, in one interleaved run.

    .venv/bin/python -m ci.bench.media [--image xcp|dvd] [--rounds 9] [--folder DIR] [--json FILE]

The image is made here from incompressible data: `xcp` has 600 files in 590 MB with an 80 MB initrd, `dvd` 6,000 files
in 6 GB. All sides make the same medium: arguments in both boot menus, an answer file in the root, a file in the initrd.
Ours are timed in a process of their own from the call to its return, imports apart, planning and applying together;
`rss` is that process' peak above a bare interpreter's, `written` what the kernel counted while applying. The others
are timed as the commands they are. Every round runs each side once, in another order; the first round does not count.
The new file and `cp` run in pairs, one right behind the other and each first in turn, with nothing left to be written
before either; three pairs a round of the small image, four of the big one. `cp` copies the vendor's image, so that both
read one file and find as much of it in memory; ours writes some mebibytes more (`more` in the figures). Of the big
image, tools that write it anew take part in every third round only. Sharing blocks is timed on an XFS of its own, in a
file, which is mounted with root's rights.

It takes up to four and a half times the image's size on the disk (27 GB for `dvd`), and ends with 3 where that is not
free. The limits are told by the clock, so a busy machine misses them; the processor's time beside them tells that
apart. On a virtual machine `ci.bench.steady` before it keeps the memory from coming and going meanwhile.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
ISOLINUX = Path("/usr/lib/ISOLINUX")
SHAPES = {"xcp": (600, 850_000, 80 << 20), "dvd": (6000, 900_000, 600 << 20)}
NO_ROOM = 3
SPARE = 2 << 30
"""Bytes: what the file system that shares blocks keeps for itself, and some."""
PEERS_EVERY = {"xcp": 1, "dvd": 3}
PAIRS = {"xcp": 3, "dvd": 4}
"""Of `cp` and the new file in each round."""
MENU = "label linux\n  kernel vmlinuz\n  append initrd=initrd.img quiet\n"
GRUB = "menuentry 'x' {\n  linux /isolinux/vmlinuz quiet\n  initrd /isolinux/initrd.img\n}\n"
AS_ROOT = () if os.geteuid() == 0 else ("sudo",)
# Not ru_maxrss: after a fork it starts at what the parent had.
PEAK = """
def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
"""
# As the kernel counts them: what goes to write and copy_file_range, not what is shared.
WRITTEN = """
def written():
    with open("/proc/self/io") as counters:
        return next(int(line.split()[1]) for line in counters if line.startswith("wchar"))
"""
OURS = """
import json, sys, time
from pathlib import Path
from builder.media.edits import Arguments, Overlay, Put
from builder.media.initrd import OverlayFile
from builder.media.plan import plan_edits
from builder.media.sinks import apply_in_place, write_file, write_qcow2
from builder.media.sinks.http import ImageServer
import urllib.request
source, target, sink, how = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4]
begin, spent = time.perf_counter(), time.process_time()
plan = plan_edits(source, [
    Put("/answer.xml", b"<installation/>" * 200), Arguments(kernel=("answerfile=cdrom:/answer.xml",)),
    Overlay((OverlayFile("/etc/marker", b"overlay"),), how=how),
])
planned, before = time.perf_counter(), written()
first = 0.0
if sink == "http":
    with ImageServer({"m": plan}) as server:
        asked = time.perf_counter()
        with urllib.request.urlopen(server.url("m")) as answer:
            answer.read(1)
            first = time.perf_counter() - asked
else:
    write = {"file": write_file, "reflink": write_file, "qcow2": write_qcow2}
    done = apply_in_place(plan) if sink == "in place" else write[sink](plan, target)
    assert sink != "reflink" or done.how == "reflink", "no blocks were shared"
end = time.perf_counter()
print(json.dumps({
    "seconds": end - begin, "cpu": time.process_time() - spent, "plan": planned - begin,
    "size": plan.size, "written": written() - before, "read": plan.bytes_read, "first_byte": first, "rss": peak(),
}))
"""


def command(*argv: str | Path, cwd: Path | None = None) -> None:
    subprocess.run([str(a) for a in argv], check=True, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def make_tree(root: Path, shape: str) -> Path:
    count, size, initrd = SHAPES[shape]
    for folder in ("isolinux", "EFI/BOOT", "Packages"):
        (root / folder).mkdir(parents=True)
    shutil.copy(ISOLINUX / "isolinux.bin", root / "isolinux")
    (root / "isolinux/isolinux.cfg").write_text(MENU)
    (root / "EFI/BOOT/grub.cfg").write_text(GRUB)
    (root / "isolinux/vmlinuz").write_bytes(os.urandom(8 << 20))
    (root / "isolinux/initrd.img").write_bytes(b"\xfd7zXZ\0" + os.urandom(initrd))
    rng = random.Random(1)
    for number in range(count):
        name = f"package-name-{number}-1.2.{number}-3.el9.x86_64.rpm"
        (root / "Packages" / name).write_bytes(os.urandom(rng.randrange(size // 2, size * 3 // 2)))
    return root


def mkisofs(root: Path, out: Path) -> None:
    command(
        "xorriso", "-as", "mkisofs", "-quiet", "-o", out, "-V", "BENCH", "-R", "-J", "-joliet-long",
        "-isohybrid-mbr", ISOLINUX / "isohdpfx.bin", "-c", "isolinux/boot.cat", "-b", "isolinux/isolinux.bin",
        "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table", root,
    )  # fmt: skip


class Sides:
    """Each side makes `out` anew from `source`."""

    def __init__(self, folder: Path, source: Path) -> None:
        self.folder, self.source, self.out = folder, source, folder / "out.iso"
        self.changed = folder / "changed"
        self.changed.mkdir()
        (self.changed / "isolinux.cfg").write_text(MENU.replace("quiet", "quiet answerfile=cdrom:/answer.xml"))
        (self.changed / "grub.cfg").write_text(GRUB.replace("quiet", "quiet answerfile=cdrom:/answer.xml"))
        (self.changed / "answer.xml").write_text("<installation/>" * 200)
        (self.changed / "extra.img").write_bytes(b"070701" + bytes(5000))
        self.shared = folder / "shared"

    def ours(self, sink: str, how: str, target: Path | None = None) -> dict[str, float]:
        source = self.source
        if sink == "reflink":
            source, target = self.shared / "source.iso", self.shared / "out.iso"
            target.unlink(missing_ok=True)
        if sink == "in place":
            source = self.folder / "inplace.iso"
            command("cp", "--reflink=auto", self.source, source)
            command("sync", source)  # or the journal's fsync would pay for the copy
        target = target or self.out
        done = subprocess.run(
            [sys.executable, "-c", PEAK + WRITTEN + OURS, str(source), str(target), sink, how],
            check=True,
            capture_output=True,
            cwd=ROOT,
        )
        if sink == "in place":
            source.unlink()
            source.with_name(source.name + ".undo").unlink()
        found: dict[str, float] = json.loads(done.stdout)
        return found

    @contextlib.contextmanager
    def sharing(self) -> Iterator[None]:
        """The source on a file system that shares blocks."""
        disk = self.folder / "shared.img"
        with disk.open("wb") as file:
            file.truncate(self.source.stat().st_size * 5 // 4 + (1 << 30))
        self.shared.mkdir()
        command("mkfs.xfs", "-q", "-m", "reflink=1", disk)
        command(*AS_ROOT, "mount", "-o", "loop", disk, self.shared)
        try:
            command(*AS_ROOT, "cp", self.source, self.shared)
            command(*AS_ROOT, "chmod", "777", self.shared)
            command("sync")
            yield
        finally:
            command(*AS_ROOT, "umount", self.shared)
            disk.unlink()

    def cp(self) -> None:
        command("cp", self.source, self.out)

    def replay(self) -> None:
        """What mkksiso does."""
        initrd = self.folder / "initrd.img"
        command("xorriso", "-osirrox", "on", "-indev", self.source, "-extract", "/isolinux/initrd.img", initrd)
        initrd.chmod(0o644)
        with initrd.open("ab") as file:
            file.write((self.changed / "extra.img").read_bytes())
        command(
            "xorriso", "-indev", self.source, "-outdev", self.out, "-boot_image", "any", "replay",
            "-update", self.changed / "isolinux.cfg", "/isolinux/isolinux.cfg",
            "-update", self.changed / "grub.cfg", "/EFI/BOOT/grub.cfg",
            "-update", initrd, "/isolinux/initrd.img", "-map", self.changed / "answer.xml", "/answer.xml",
        )  # fmt: skip
        initrd.unlink()

    def extract(self) -> None:
        """What iso-remaster does: unpack all, change, make anew."""
        tree = self.folder / "extracted"
        command("xorriso", "-osirrox", "on", "-indev", self.source, "-extract", "/", tree)
        command("chmod", "-R", "u+rwX", tree)
        shutil.copy(self.changed / "isolinux.cfg", tree / "isolinux")
        shutil.copy(self.changed / "grub.cfg", tree / "EFI/BOOT")
        shutil.copy(self.changed / "answer.xml", tree)
        with (tree / "isolinux/initrd.img").open("ab") as file:
            file.write((self.changed / "extra.img").read_bytes())
        (tree / "isolinux/boot.cat").unlink()
        mkisofs(tree, self.out)
        shutil.rmtree(tree)

    def pycdlib(self) -> None:
        program = (
            "import sys, io, pycdlib\nd = pycdlib.PyCdlib(); d.open(sys.argv[1])\n"
            "b = b'<installation/>' * 200\n"
            "d.add_fp(io.BytesIO(b), len(b), '/ANSWER.XML;1', rr_name='answer.xml', joliet_path='/answer.xml')\n"
            "d.write(sys.argv[2]); d.close()\n"
        )
        command(sys.executable, "-c", program, self.source, self.out)


Timed = dict[str, list[dict[str, float]]]


def timed(work: Callable[[], None]) -> dict[str, float]:
    """Seconds of the clock and of the processor that a command of others takes."""
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    work()
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return {"seconds": seconds, "cpu": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime}


def measure(sides: Sides, image: str, rounds: int) -> tuple[Timed, Timed]:
    """What each run of the others and each of ours took, with all that ours tell."""
    others: dict[str, Callable[[], None]] = {
        "cp": sides.cp, "xorriso replay": sides.replay, "extract + mkisofs": sides.extract,
        "pycdlib write": sides.pycdlib,
    }  # fmt: skip
    ours = {
        "file": "second",
        "file, initrd appended": "append",
        "qcow2": "second",
        "in place": "second",
        "reflink": "second",
        "http": "second",
    }
    theirs: Timed = {name: [] for name in others}
    told: Timed = {name: [] for name in ours}
    rng = random.Random(rounds)
    for number in range(rounds + 1):
        alone = [name for name in (*others, *ours) if name not in ("cp", "file")]
        order = [name for name in alone if name in ours or number % PEERS_EVERY[image] == 0]
        rng.shuffle(order)
        for pair in range(PAIRS[image]):
            order += ("cp", "file") if (number + pair) % 2 else ("file", "cp")
        for name in order:
            sides.out.unlink(missing_ok=True)
            command("sync", "-f", sides.folder)
            found = timed(others[name]) if name in others else sides.ours(name.split(",")[0], ours[name])
            if number:
                (theirs if name in others else told)[name].append(found)
        print(f"round {number} of {rounds}", file=sys.stderr)
    return theirs, told


QUICK = ("qcow2", "in place", "reflink")


def spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "least": min(values), "most": max(values)}


def bare_rss() -> float:
    program = PEAK + "print(peak())"
    return float(subprocess.run([sys.executable, "-c", program], check=True, capture_output=True).stdout)


def has_room(folder: Path, image: str) -> bool:
    """Whether all sides can work in a folder; said when not."""
    count, size, initrd = SHAPES[image]
    need, free = (count * size + initrd) * 9 // 2 + SPARE, shutil.disk_usage(folder).free
    if free < need:
        print(
            f"{folder} has {free >> 30} GiB free, {image} takes {need >> 30}: --folder names another", file=sys.stderr
        )
    return free >= need


def end(_signal: int, _frame: object) -> None:
    """As out of time: what was made takes room, and is mounted, until it is cleared away; a second time is too late."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise SystemExit(128 + signal.SIGTERM)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--image", choices=sorted(SHAPES), default="xcp")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--folder", type=Path, help="where the images are made; a disk, not memory")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    begin = os.getloadavg()[0]
    if not has_room(args.folder or Path(tempfile.gettempdir()), args.image):
        return NO_ROOM
    signal.signal(signal.SIGTERM, end)
    with tempfile.TemporaryDirectory(prefix="nestlab-bench-", dir=args.folder) as name:
        folder = Path(name)
        source = folder / "source.iso"
        mkisofs(make_tree(folder / "tree", args.image), source)
        shutil.rmtree(folder / "tree")
        sides = Sides(folder, source)
        with sides.sharing():
            theirs, told = measure(sides, args.image, args.rounds)
        size = source.stat().st_size
    report = summary(theirs, told, size) | {
        "image": args.image,
        "bytes": size,
        "rounds": args.rounds,
        "pairs": len(theirs["cp"]),
        "load": {"begin": begin, "end": os.getloadavg()[0]},
    }
    print(json.dumps(report, indent=1))
    if args.json:
        args.json.write_text(json.dumps(report, indent=1) + "\n")
    return 0 if all(report["limits"].values()) else 1


def summary(theirs: Timed, told: Timed, size: int) -> dict[str, Any]:
    """Medians, ratios and whether the promises hold. `size` is the vendor's image's, in bytes."""
    ours, others = ({name: [run["seconds"] for run in runs] for name, runs in side.items()} for side in (told, theirs))
    ratio, cpu_ratio = (
        statistics.median(a[clock] / b[clock] for a, b in zip(told["file"], theirs["cp"], strict=True))
        for clock in ("seconds", "cpu")
    )
    peers = {name: statistics.median(values) for name, values in others.items() if name != "cp"}
    quick = {name: statistics.median(ours[name]) for name in QUICK}
    written = {name: max(run["written"] for run in told[name]) for name in QUICK}
    rss = (max(run["rss"] for runs in told.values() for run in runs) - bare_rss()) / 1024
    first = statistics.median(run["first_byte"] for run in told["http"])
    limits = {
        "file <= 1.03 x cp": ratio <= 1.03,
        "file no slower than a peer": all(statistics.median(ours["file"]) <= value for value in peers.values()),
        "qcow2, in place, reflink <= 50 ms": max(quick.values()) <= 0.05,
        "qcow2, in place, reflink write <= 200 KB": max(written.values()) <= 200_000,
        "qcow2, in place, reflink 20 x faster than any peer": 20 * max(quick.values()) <= min(peers.values()),
        "rss <= 40 MB above the interpreter": rss <= 40,
        "first byte <= 20 ms": first <= 0.02,
    }
    return {
        "seconds": {name: spread(values) for name, values in {**others, **ours}.items()},
        "figures": {
            "file_to_cp": ratio, "file_to_cp_cpu": cpu_ratio,
            "quick_ms": {name: value * 1000 for name, value in quick.items()},
            "quick_cpu_ms": {name: statistics.median(run["cpu"] for run in told[name]) * 1000 for name in QUICK},
            "plan_ms": statistics.median(run["plan"] for run in told["qcow2"]) * 1000,
            "more": told["file"][0]["size"] - size,
            "written": written, "read": told["qcow2"][0]["read"], "rss_mb": rss, "first_byte_ms": first * 1000,
        },
        "limits": limits,
    }  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main())
