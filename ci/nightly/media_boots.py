"""Remastered media booted every way: XCP-ng's layout with its initrd packed each way that a loader may meet, and
Debian's real installer with files put into its initrd each way that `media build` knows."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from builder.media.edits import Put
from builder.media.initrd import OverlayFile, archive
from builder.media.plan import plan_edits
from builder.media.sinks import write_file
from ci.nightly.lab import command
from ci.nightly.part import Desk, Figures, Part, Unit, Verdict
from tests.support.debian_media import build_debian
from tests.support.xcpng_media import ANSWER, PACKERS, SAID, build_xcpng, debian_contents

MODES = ("append", "second", "repack")
UNGUARDED = ("gzip",)
_NONCE = "media-boots-5c1d"
_ANSWERS = f"<installation>\n<hostname>{_NONCE}</hostname>\n</installation>\n"
_PRESEED = f"# {_NONCE}\nd-i debian-installer/locale string en_US.UTF-8\nd-i netcfg/get_hostname string {_NONCE}\n"
_BUILD_SECONDS = 900.0
"""Packing Debian's initrd anew took 67 s on a machine that was busy with others."""
_PROVE_SECONDS = 1800.0


def xcpng(packing: str, desk: Desk) -> Figures:
    """All four ways; the answers are told by the booted system and seen in its memory."""

    def make(folder: Path) -> Path:
        return build_xcpng(folder, debian_contents(packing))

    tells = f"{SAID} answer <hostname>{_NONCE}</hostname>"
    return _proven(desk, f"xcpng-{packing}", make, _ANSWERS, (), ("--memory", "512MiB", "--expect-text", tells))


def debian(mode: str, desk: Desk) -> Figures:
    """All four ways; the installer is silent, so what the kernel got and unpacked is seen in its memory."""
    preseed = desk.folder / "preseed.cfg"
    preseed.write_text(_PRESEED, "utf-8")
    more = ("--memory", "1GiB", "--expect-file", preseed)
    return _proven(desk, f"debian-{mode}", build_debian, _PRESEED, ("--initrd", mode), more)


def _proven(
    desk: Desk, name: str, make: Callable[[Path], Path], answers: str, build: Sequence[str], more: Sequence[str | Path]
) -> Figures:
    folder = desk.folder / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "answers").write_text(answers, "utf-8")
    medium, report = folder / "medium.iso", desk.folder / f"{name}.json"
    report.unlink(missing_ok=True)
    try:
        vendor = make(folder)
        with command(desk.log) as nestlab:
            built = nestlab.run(
                "media", "build", "--iso", vendor, "-o", medium, "--answer", folder / "answers", "--append",
                f"nonce={_NONCE}", *build, timeout=_BUILD_SECONDS,
            )  # fmt: skip
            if built:
                return {"ok": False, "reached": "nothing"}
            status = nestlab.run(
                "media", "prove", medium, "--source", vendor, "--out", report, *more, timeout=_PROVE_SECONDS
            )
        return {"ok": status == 0, "status": status, **_figures(report)}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _figures(report: Path) -> dict[str, Any]:
    if not report.exists():
        return {"boots": {}}
    told = json.loads(report.read_text("utf-8"))
    return {"boots": {f"{boot['firmware']}-{boot['attached']}": _boot(boot) for boot in told["boots"]}}


def _boot(boot: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "outcome": boot["outcome"],
        "seconds": boot["seconds"],
        "starts": boot["starts"],
        "cause": boot["cause"],
        "kernel_line": boot["command_line_seen"],
        "answers": {item["what"].rpartition("/")[2]: item["where"] for item in boot["answers"]},
    }


def unguarded(packing: str, desk: Desk) -> Figures:
    """The control: the archive simply put behind. That it is lost is why `media build` puts a guard in front."""
    folder = desk.folder / f"unguarded-{packing}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    report = desk.folder / f"unguarded-{packing}.json"
    report.unlink(missing_ok=True)
    try:
        contents = debian_contents(packing)
        vendor, medium, packed = build_xcpng(folder, contents), folder / "medium.iso", contents.image
        overlay = PACKERS[packing](archive([OverlayFile(ANSWER, _ANSWERS.encode())]))
        image = packed + bytes(-len(packed) % 4) + overlay
        write_file(plan_edits(vendor, [Put("/install.img", image, "old")]), medium)
        with command(desk.log) as nestlab:
            nestlab.run(
                "media", "prove", medium, "--as", "cd", "--memory", "512MiB", "--out", report,
                "--expect-text", f"{SAID} done", timeout=_PROVE_SECONDS,
            )  # fmt: skip
        told = json.loads(report.read_text("utf-8"))["boots"] if report.exists() else []
        read = {boot["firmware"]: _NONCE in Path(boot["console"]).read_text("utf-8", "replace") for boot in told}
        decided = all(boot["outcome"] == "ok" or boot["cause"] == "kernel-panic" for boot in told)
        return {"ok": len(told) == 2 and decided and not any(read.values()), "answer_read": read, **_figures(report)}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


# What a medium of one of Debian's packages shows by each firmware that it starts by. Memtest86+ writes to the screen
# alone, which UEFI makes a picture of.
_STARTED = 'starting Boot0001 "UEFI QEMU'
REAL: Mapping[str, Mapping[str, str]] = {
    "/usr/lib/ipxe/ipxe.iso": {"bios": "iPXE [0-9]", "uefi": "iPXE [0-9]"},
    "/usr/lib/grub-rescue/grub-rescue-cdrom.iso": {"bios": "GNU GRUB"},
    "/usr/lib/memtest86+/memtest86+x64.iso": {"bios": r"Memtest86\+ v", "uefi": _STARTED},
    "/usr/lib/memtest86+/memtest86+ia32.iso": {"bios": r"Memtest86\+ v"},
}


def real(vendor: str, desk: Desk) -> Figures:
    """A medium that others made, with a file put into it: it starts as before."""
    folder = desk.folder / Path(vendor).stem
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    added, medium = folder / "added", folder / "medium.iso"
    added.write_text("there\n", "utf-8")
    ok = True
    boots: dict[str, Any] = {}
    try:
        with command(desk.log) as nestlab:
            add = f"{added}:/nestlab/added"
            if nestlab.run("media", "build", "--iso", vendor, "-o", medium, "--add", add, timeout=_BUILD_SECONDS):
                return {"ok": False, "reached": "nothing"}
            for firmware, text in REAL[vendor].items():
                report = folder / f"{firmware}.json"
                ok &= not nestlab.run(
                    "media", "prove", medium, "--source", vendor, "--firmware", firmware, "--expect-text", text,
                    "--out", report, timeout=_PROVE_SECONDS,
                )  # fmt: skip
                boots |= _figures(report)["boots"]
        return {"ok": ok, "boots": boots}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def units() -> Sequence[Unit]:
    return [
        *(Unit(f"real-{Path(path).stem}", partial(real, path), 60) for path in REAL),
        *(Unit(f"xcpng-{packing}", partial(xcpng, packing), 120) for packing in PACKERS),
        *(Unit(f"unguarded-{packing}", partial(unguarded, packing), 60) for packing in UNGUARDED),
        *(Unit(f"debian-{mode}", partial(debian, mode), 240) for mode in MODES),
    ]


def judge(done: Mapping[str, Figures]) -> Verdict:
    return Verdict(all(figures["ok"] for figures in done.values()), dict(done))


PART = Part("media-boots", "remastered media of two layouts booted as CD and USB by BIOS and UEFI", units, judge)
