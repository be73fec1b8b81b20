"""XCP-ng's path from the medium to the verified host, with the rules of 8.2 and 8.3, by BIOS and UEFI; what the
installer refuses; an upgrade and its undoing.

The installer on the media is a stand-in of ours (tests/support/xcpng_installer), so nothing here is a claim about the
vendor's: the proof matrix gets none from this part.
"""

from __future__ import annotations

import http.server
import re
import threading
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from builder.model.load import read_lab
from builder.model.units import MIB
from builder.run import run
from builder.systems import load_system, traits
from ci.debian_installer import bare
from ci.nightly.lab import command
from ci.nightly.part import Desk, Figures, Part, Unit, Verdict
from ci.proof import ROOT
from tests.support.xcpng_answer_cases import RIGHT
from tests.support.xcpng_installer.labs import LEFT_OUT, Firmware, lab_text
from tests.support.xcpng_installer.medium import stand_in_medium

CASES: tuple[tuple[str, Firmware, bool], ...] = (
    ("8.3", "bios", False), ("8.2", "bios", True), ("8.3", "uefi", False), ("8.2", "uefi", False),
)  # fmt: skip
"""Release, firmware, and whether the system is on a RAID1 pair."""
_PORT = 2298
_LOCAL = RIGHT.replace('<source type="url">http://mirror.example/xcp</source>', '<source type="local"/>')
REFUSED: Mapping[str, tuple[str, str, str]] = {
    "wrong-disk": (">sda<", ">sdz<", "FileNotFoundError"),
    "wrong-word": ('"ext"', '"zfs"', "XmlUnwrapError: Unexpected key zfs"),
    "no-card": (' name="eth0"', "", "AnswerfileException: <admin-interface> tag must have one of 'name' or 'hwaddr'"),
    "small-disk": ("<hostname>", "<hostname>", "is smaller than 46GB"),
    "no-script": ("file:///x", "file:///nowhere", "Unable to fetch script file:///nowhere"),
}
"""What is put in place of what in an answer file, and why the installer stops."""


def installed(release: str, firmware: Firmware, raid: bool, desk: Desk) -> Figures:
    """A small host by `nestlab up`."""
    lab = desk.folder / "lab.yaml"
    lab.write_text(lab_text(stand_in_medium(release), release, firmware, raid=raid, scripts=desk.folder), "utf-8")
    return _up_and_tested(lab, desk)


def shipped(desk: Desk) -> Figures:
    """The lab that is shipped, with the medium that a variable names."""
    return _up_and_tested(ROOT / "labs/xcp-ng-8.3.yaml", desk, NESTLAB_ISO_XCPNG_8_3=str(stand_in_medium("8.3")))


def _up_and_tested(lab: Path, desk: Desk, **environment: str) -> Figures:
    """`up` from the medium, every check, `down`. Nobody wants what the stand-in installed."""
    name = read_lab(lab, traits()).name
    with command(desk.log, own_images=True, **environment) as nestlab:
        try:
            if nestlab.run("up", lab, timeout=2400):
                return {"ok": False}
            phases = nestlab.boot_phases(name)
            junit = desk.folder / "junit.xml"
            passed = nestlab.run("test", lab, "--", f"--junitxml={junit}", timeout=1200) == 0
            left_out = len(re.findall(r"<skipped", junit.read_text("utf-8"))) if junit.exists() else -1
            return {
                "ok": passed and left_out == len(LEFT_OUT), "phases": phases, "checks_left_out": left_out,
                "install_seconds": round(sum(phases.get("install", {}).values()), 1),
                "boot_seconds": round(sum(phases.get("disk", {}).values()), 1),
            }  # fmt: skip
        finally:
            nestlab.run("down", lab, timeout=120)


def refused(case: str, desk: Desk) -> Figures:
    """A wrong answer file: the installer says why, runs the script for failures, and goes the way of atexit."""
    old, new, why = REFUSED[case]
    with bare.workplace(desk.folder / f"refused-{case}") as folder:
        (folder / "answers.xml").write_text(_LOCAL.replace(old, new, 1), "utf-8")
        disks = {name: folder / f"{name}.qcow2" for name in ("first", "second")}
        for path in disks.values():
            run(["qemu-img", "create", "-q", "-f", "qcow2", path, "45G" if case == "small-disk" else "60G"])
        with command(desk.log) as nestlab:
            built = nestlab.run(
                "media", "build", "--iso", stand_in_medium(), "-o", folder / "medium.iso", "--answer",
                folder / "answers.xml", "--append", "atexit=poweroff", timeout=120,
            )  # fmt: skip
        if built:
            return {"ok": False}
        machine = bare.Machine(2048, "52:54:00:00:00:01", disks, _PORT)
        ended = bare.until_end(machine, [folder / "medium.iso"], folder, seconds=900)
        said = (folder / "serial.log").read_text("utf-8", "replace")
        return {"ok": ended and "INSTALL FAILED." in said and why in said and "completed successfully" not in said,
                "told": why in said, "ended_by_itself": ended}  # fmt: skip


def by_hand(desk: Desk) -> Figures:
    """The same installation in a bare QEMU, to compare with."""
    with bare.workplace(desk.folder / "bare") as folder:
        return _Bare(desk, folder).installed("8.3", "fresh", "")


def served(desk: Desk) -> Figures:
    """Answers and scripts by HTTP instead of in the installer's memory root; the installer brings a card up for it."""
    asked: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            super().do_GET()

        def log_message(self, *_: object) -> None:
            """What is asked for is in the figures."""

    with bare.workplace(desk.folder / "served") as folder:
        (folder / "answers").mkdir()
        handler = partial(Handler, directory=str(folder / "answers"))
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            try:
                more = f"      served_at: http://10.0.2.2:{server.server_port}/\n"
                figures = _Bare(desk, folder).installed("8.3", "fresh", "", more)
            finally:
                server.shutdown()
        return {**figures, "asked": asked, "ok": asked[:1] == ["/answerfile.xml"] and len(asked) == 3}


def upgraded(desk: Desk) -> Figures:
    """8.2 installed, 8.3 over it, and back: what is carried over, what is only in the backup, what comes back."""
    with bare.workplace(desk.folder / "upgrade") as folder:
        host = _Bare(desk, folder)
        changed = "echo ARRAY >/etc/mdadm.conf; echo x >/etc/dracut.conf.d/raid.conf; "
        first = host.installed("8.2", "fresh", changed)
        second = host.installed("8.3", "upgrade", "")
        third = host.installed("8.2", "restore", "")
        return {
            "ok": first["version"] == third["version"] == "8.2.1" and second["version"] == "8.3.0"
            and first["uuid"] == second["uuid"] == third["uuid"]
            and (second["mdadm"], second["dracut"], second["dracut_in_backup"]) == (True, False, True)
            and third["dracut"] and first["memory"] == second["memory"] == third["memory"],
            "fresh": first, "upgraded": second, "restored": third,
        }  # fmt: skip


_LOOK = """
. /etc/xensource-inventory
echo version $PRODUCT_VERSION
echo uuid $INSTALLATION_UUID
echo memory $(/opt/xensource/libexec/xen-cmdline --get-xen dom0_mem)
[ ! -s /etc/mdadm.conf ] || echo mdadm yes
[ ! -s /etc/dracut.conf.d/raid.conf ] || echo dracut yes
mkdir -p /tmp/backup && mount -t ext4 -o ro /dev/sda2 /tmp/backup 2>/dev/null && {
    [ ! -s /tmp/backup/etc/dracut.conf.d/raid.conf ] || echo dracut_in_backup yes
    umount /tmp/backup
}
sync
"""


class _Bare:
    """One machine that is installed over and over, in a bare QEMU: `up` would begin with blank disks."""

    def __init__(self, desk: Desk, folder: Path) -> None:
        self._desk = desk
        self._folder = folder
        self._disk = folder / "system.qcow2"
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "key"])
        run(["qemu-img", "create", "-q", "-f", "qcow2", self._disk, "60G"])

    def installed(self, release: str, mode: str, then: str, more: str = "") -> dict[str, Any]:
        """Run that installation, start the host, and look at it; `then` is done on the host before that. `more` are
        lines of the lab file; answers are laid into the folder `answers` where there is one."""
        lab, medium = self._folder / "lab.yaml", self._folder / "medium.iso"
        keys = f"      root_keys: ['{(self._folder / 'key.pub').read_text().strip()}']\n"
        text = lab_text(stand_in_medium(release), release, "bios")
        if mode != "fresh":
            text, keys = text[: text.index("      hostname")], f"      mode: {mode}\n"
        lab.write_text(text + keys + more, "utf-8")
        node = read_lab(lab, traits()).nodes[0]
        plan = load_system("xcpng").plan(node)
        if (self._folder / "answers").is_dir():
            for answer in plan.answers:
                (self._folder / "answers" / answer.name).write_text(answer.content, "utf-8")
        medium.unlink(missing_ok=True)
        with command(self._desk.log) as nestlab:
            assert nestlab.run("media", "build", lab, "host", "-o", medium, timeout=120) == 0
        machine = bare.Machine(node.memory // MIB, node.management_mac, {"system": self._disk}, _PORT)
        took = bare.install(machine, [medium], self._folder, plan.boots[0].phases, seconds=1800)
        boot = bare.first_boot(
            machine, self._folder / "key", self._folder, seconds=1200, ready="true", ask=then + _LOOK
        )
        told = dict(line.split(" ", 1) for line in str(boot["said"]).splitlines() if " " in line)
        return {
            "phases": took, "install_seconds": round(sum(each["seconds"] for each in took.values()), 1),
            "boot_seconds": boot["seconds"],
            **{name: told.get(name, "") for name in ("version", "uuid", "memory")},
            **{name: name in told for name in ("mdadm", "dracut", "dracut_in_backup")},
        }  # fmt: skip


def units() -> Sequence[Unit]:
    return [
        *(Unit(f"{release}-{firmware}{'-raid1' if raid else ''}", partial(installed, release, firmware, raid), 300)
          for release, firmware, raid in CASES),
        Unit("shipped-lab", shipped, 300),
        Unit("by-hand", by_hand, 200),
        Unit("served", served, 200),
        *(Unit(f"refused-{case}", partial(refused, case), 60) for case in REFUSED),
        Unit("upgrade", upgraded, 400),
    ]  # fmt: skip


def judge(done: Mapping[str, Figures]) -> Verdict:
    return Verdict(all(figures["ok"] for figures in done.values()), dict(done))


PART = Part(
    "xcpng-install", "XCP-ng's path with a stand-in installer: 8.2 and 8.3, BIOS and UEFI, upgrade", units, judge
)
