"""Two builds of the same image from empty caches: are they the same, and if not, in which files do they differ?"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from builder.run import run
from ci.nightly.boots import lab_text
from ci.nightly.lab import command
from ci.nightly.part import Desk, Figures, Part, Unit, Verdict

RELEASES = ("13", "12")
BUILDS = ("first", "second")


def build(release: str, which: str, desk: Desk) -> Figures:
    """Build with a cache of its own, then write down what is in the image; the image itself is not kept."""
    folder = desk.folder / f"{release}-{which}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    lab = folder / "lab.yaml"
    lab.write_text(lab_text(release, "bios"), "utf-8")
    try:
        with command(desk.log, NESTLAB_CACHE=str(folder / "cache")) as nestlab:
            if nestlab.run("image", "build", lab, timeout=1500):
                return {"ok": False}
        images = sorted((folder / "cache").rglob("*.qcow2"), key=lambda path: path.stat().st_size)
        if not images:
            return {"ok": False}
        raw = folder / "disk.raw"
        run(["qemu-img", "convert", "-O", "raw", images[-1], raw], timeout=600)
        listing = desk.folder / f"{release}-{which}.json"
        listing.write_text(json.dumps(describe(raw, folder)), "utf-8")
        return {"sha256": sha256(raw), "size": raw.stat().st_size}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def describe(raw: Path, folder: Path) -> dict[str, Any]:
    """Digest of every partition, and of every file of the Linux one with its mode and time."""
    table = json.loads(run(["sfdisk", "--json", raw]).stdout)["partitiontable"]
    found: dict[str, Any] = {
        "table": hashlib.sha256(json.dumps(table).encode()).hexdigest(),
        "partitions": {},
        "files": {},
    }
    for index, partition in enumerate(table["partitions"], 1):
        piece = folder / f"part{index}"
        copy_range(raw, piece, partition["start"] * 512, partition["size"] * 512)
        found["partitions"][str(index)] = sha256(piece)
        if is_ext4(piece):
            tree = folder / "tree"
            tree.mkdir()
            run(["debugfs", "-R", f'rdump / "{tree}"', piece], timeout=900)
            found["files"] = {str(p.relative_to(tree)): file_line(p) for p in sorted(tree.rglob("*"))}
    return found


def is_ext4(piece: Path) -> bool:
    with piece.open("rb") as file:
        file.seek(1024 + 56)
        return file.read(2) == b"\x53\xef"


def copy_range(source: Path, target: Path, start: int, length: int) -> None:
    with source.open("rb") as reader, target.open("wb") as writer:
        os.truncate(writer.fileno(), length)
        while length:
            sent = os.copy_file_range(reader.fileno(), writer.fileno(), length, start)
            if sent == 0:
                break
            start, length = start + sent, length - sent


def file_line(path: Path) -> str:
    info = path.lstat()
    if path.is_symlink():
        return f"link {path.readlink()}"
    kind = sha256(path) if path.is_file() else "other"
    return f"{info.st_mode:o} {info.st_uid}:{info.st_gid} {int(info.st_mtime) if path.is_file() else 0} {kind}"


def compare(release: str, desk: Desk) -> Figures:
    """Names of what differs. A difference is a finding, not a failure: the proof writes it down."""
    first, second = (json.loads((desk.folder / f"{release}-{which}.json").read_text("utf-8")) for which in BUILDS)
    names = sorted(first["files"].keys() | second["files"].keys())
    differ = [name for name in names if first["files"].get(name) != second["files"].get(name)]
    content = [name for name in differ if _content(first, name) != _content(second, name)]
    return {
        "identical": first == second,
        "files": len(names),
        "differ_in_content": content[:100],
        "differ_in_mode_owner_or_time_only": len(differ) - len(content),
        "partitions_differ": [k for k in first["partitions"] if first["partitions"][k] != second["partitions"].get(k)],
        "table_differs": first["table"] != second["table"],
    }


def _content(listing: dict[str, Any], name: str) -> str:
    return str(listing["files"].get(name, "absent")).rpartition(" ")[2]


def units() -> Sequence[Unit]:
    result = []
    for release in RELEASES:
        result += [Unit(f"{release}-{which}", partial(build, release, which), 500) for which in BUILDS]
        result.append(Unit(f"{release}-compare", partial(compare, release), 5))
    return result


def judge(done: Mapping[str, Figures]) -> Verdict:
    figures = {release: done[f"{release}-compare"] for release in RELEASES}
    return Verdict(all(figures["ok"] for figures in done.values()), figures)


PART = Part("reproducibility", "two builds of each image from empty caches, compared file by file", units, judge)
