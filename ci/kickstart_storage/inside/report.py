"""Prints, as one JSON object, what this machine's disks are, in the words of mdadm, lvm, sfdisk and blkid."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

COLUMNS = {
    "pvs": "pv_name,pv_uuid,vg_name,pv_pe_count,pv_pe_alloc_count",
    "vgs": "vg_name,vg_uuid,vg_extent_size,vg_extent_count,vg_free_count",
    "lvs": "lv_name,lv_uuid,vg_name,lv_size,lv_active",
}


def main(disks: list[str]) -> None:
    tables = {path: table(path) for path in disks}
    print(json.dumps({"disks": tables, "arrays": arrays(), "lvm": lvm(), "devices": devices()}))


def said(*argv: str) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def table(path: str) -> dict[str, Any]:
    """sfdisk's view of a disk, and the disk's size in sectors. The path may be a link by identity."""
    node = Path(path).resolve()
    found: dict[str, Any] = json.loads(said("sfdisk", "--json", str(node)))["partitiontable"]
    return found | {"sectors": int((Path("/sys/class/block") / node.name / "size").read_text())}


def arrays() -> dict[str, dict[str, Any]]:
    """By name. `export` is mdadm's; `chunk`, `size` (bytes) and `degraded` are the kernel's, which it leaves out."""
    found = {}
    for folder in sorted(Path("/sys/block").glob("md*/md")):
        device = f"/dev/{folder.parent.name}"
        export = dict(line.split("=", 1) for line in said("mdadm", "--detail", "--export", device).splitlines())
        found[export.get("MD_DEVNAME", folder.parent.name)] = {
            "device": device,
            "export": export,
            "chunk": int((folder / "chunk_size").read_text()),
            "size": int((folder.parent / "size").read_text()) * 512,
            "degraded": int((folder / "degraded").read_text()),
        }
    return found


def lvm() -> dict[str, list[dict[str, str]]]:
    found = {}
    for program, columns in COLUMNS.items():
        text = said(program, "--reportformat", "json", "--units", "b", "--nosuffix", "-o", columns)
        found[program] = json.loads(text)["report"][0][program.removesuffix("s")]
    return found


def devices() -> dict[str, dict[str, str]]:
    """What blkid reads from each device itself: no cache."""
    found = {}
    for path in sorted(set(said("lsblk", "--noheadings", "--list", "--paths", "--output", "NAME").split())):
        done = subprocess.run(["blkid", "--probe", "-o", "export", path], capture_output=True, text=True, check=False)
        if pairs := dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line):
            found[path] = pairs
    return found


if __name__ == "__main__":
    main(sys.argv[1:])
