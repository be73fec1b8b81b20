"""What `export --to xl` writes, in a dom0 of ours: every configuration read by `xl create -n`, and one lab really made,
started and removed by its scripts. Its guest is a plain HVM machine with a kernel and a RAM disk of a few programs.

Emulated HVM inside emulated Xen is slow: where its user space is not reached in time, the record says `started` with
the last line of its console, and a PVH guest shows a card and a disk instead.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from builder.errors import LabError
from ci.exported import cases, files_of, is_documented
from ci.nightly.boots import xen_facts
from ci.nightly.lab import NESTLAB, Command, command
from ci.nightly.part import Desk, Figures, Part, Unit, Verdict
from ci.nightly.variant_machine import last_line, plain
from ci.proof import EXPORT_INPUTS, ROOT, inputs_digest, record_of

LAB = """\
name: xl-in-dom0
description: A dom0 that exported labs are tried in.
nodes:
  dom0:
    system: debian
    release: "13"
    memory: 4GiB
    xen: {dom0_memory: 1GiB}
"""
MOVED = """\
name: demo
description: A lab that goes to that dom0.
networks: {lan: {}}
nodes:
  host:
    system: debian
    release: "13"
    cpus: 1
    memory: 1GiB
    disks: [{size: 4GiB}]
    networks: [{network: lan}]
"""
FOLDER = "/run/nestlab-moved"
UPLINK = "nlup0"
INIT = """\
#!/bin/busybox sh
/bin/busybox mount -t sysfs sysfs /sys
while :; do
    echo "guest NONCE"
    for device in /sys/bus/pci/devices/* /sys/bus/xen/devices/v*; do
        vendor='' model=''
        [ ! -e "$device/vendor" ] || read -r vendor <"$device/vendor"
        [ ! -e "$device/device" ] || read -r model <"$device/device"
        echo "device ${device##*/} $vendor $model"
    done
    echo "end NONCE"
    /bin/busybox sleep 2
done
"""
RAMDISK = """\
set -eu
mkdir -p FOLDER/root/bin FOLDER/root/sys FOLDER/root/dev
cat >FOLDER/root/init
chmod 755 FOLDER/root/init
cp /bin/busybox FOLDER/root/bin/
cd FOLDER/root
[ -e dev/console ] || mknod dev/console c 5 1
find . | busybox cpio -o -H newc >../initrd
ip link show dev UPLINK >/dev/null 2>&1 || ip link add name UPLINK type bridge
ip link set dev UPLINK up
[ -e ../demo-host-disk0.img ] || truncate -s 64M ../demo-host-disk0.img
"""
# A console is read from its terminal: `xl console` ends with its input.
LISTEN = """\
set -eu
id=$(xl domid NAME)
tty=
until [ -n "$tty" ]; do tty=$(xenstore-read "/local/domain/$id/PLACE/tty" 2>/dev/null) || sleep 1; done
stty -F "$tty" raw -echo
setsid sh -c 'exec cat <"$1" >FOLDER/console.log 2>&1' sh "$tty" >/dev/null 2>&1 </dev/null &
"""
PVH = f"""\
name = "demo-pvh"
type = "pvh"
vcpus = 1
memory = 256
tsc_mode = "native"
kernel = "/vmlinuz"
ramdisk = "{FOLDER}/initrd"
extra = "console=hvc0 rdinit=/init"
disk = [ "format=raw, vdev=xvda, access=rw, target={FOLDER}/demo-host-disk0.img" ]
vif = [ "mac=00:16:3e:00:00:01, bridge={UPLINK}" ]
on_poweroff = "destroy"
on_reboot = "destroy"
on_crash = "destroy"
"""
INPUTS = (*EXPORT_INPUTS, "builder/images", "builder/systems/debian", "answerfiles/debian", "ci/nightly/xl_in_dom0.py")
HVM_SECONDS, PVH_SECONDS = 900, 240
# Intel 82540EM and PIIX3's IDE, as a guest finds them in its PCI configuration.
_CARD, _DISK = "0x8086 0x100e", "0x8086 0x7010"


@dataclass(frozen=True, slots=True)
class Dom0:
    nestlab: Command

    def run(self, script: str, stdin: str = "", *, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(NESTLAB), "exec", "xl-in-dom0", "dom0", "--", "sh", "-c", script], cwd=ROOT, input=stdin, text=True,
            env={**os.environ, **self.nestlab.environment}, capture_output=True, timeout=timeout, check=False,
        )  # fmt: skip

    def must(self, script: str, stdin: str = "", *, timeout: float = 120) -> str:
        """Raises Broken with what the script said."""
        done = self.run(script, stdin, timeout=timeout)
        if done.returncode:
            raise Broken(last_line(done.stderr) or last_line(done.stdout) or f"status {done.returncode}")
        return done.stdout

    def put(self, path: str, content: str) -> None:
        self.must(f'mkdir -p "$(dirname {path})" && cat >{path}', content)


class Broken(Exception):
    """A step in dom0 failed."""


@contextmanager
def dom0(desk: Desk) -> Iterator[Dom0]:
    """The host, up. Raises Broken when it does not come up."""
    lab = desk.folder / "xl-in-dom0.yaml"
    lab.write_text(LAB, "utf-8")
    with command(desk.log) as nestlab:
        try:
            if nestlab.run("up", lab, timeout=1500):
                raise Broken("the host did not come up")
            yield Dom0(nestlab)
        finally:
            nestlab.run("down", lab, timeout=120)


def configurations() -> list[str]:
    """Every different xl configuration that systems, releases, paths and firmwares come to."""
    found: dict[str, None] = {}
    for case in cases():
        if case.l0 != "xen":
            continue
        try:
            files = files_of(case)
        except LabError as refusal:
            if not is_documented(refusal):
                raise
            continue
        found |= {file.content: None for name, file in files.items() if name.endswith(".cfg")}
    return list(found)


def dry_run(desk: Desk) -> Figures:
    """Each configuration before xl itself, and a broken one, which it has to refuse."""
    texts = configurations()
    with dom0(desk) as host:
        facts = xen_facts(host.nestlab, "xl-in-dom0")
        wrong: dict[str, list[str]] = {}
        for number, text in enumerate(texts):
            host.put(f"{FOLDER}/{number}.cfg", text)
            done = host.run(f"xl create -n {FOLDER}/{number}.cfg")
            problems = misread(text, done.stdout) if done.returncode == 0 else [last_line(done.stderr)]
            wrong |= {str(number): problems} if problems else {}
        host.put(f"{FOLDER}/broken.cfg", texts[0].replace("format=raw", "format=rwa"))
        refused = host.run(f"xl create -n {FOLDER}/broken.cfg").returncode != 0
    return {"ok": not wrong and refused, "read": len(texts), "wrong": wrong, "broken_refused": refused, **facts}


def misread(text: str, told: str) -> list[str]:
    """What xl says it read, against the configuration itself, read here line by line."""
    found: dict[str, Any] = json.loads(told[told.index("{") :])
    found = found.get("config", found)
    said = dict(re.findall(r'^(\w+) = "?([^"\n\[]+)"?$', text, re.MULTILINE))
    disks, vifs = re.findall(r"vdev=(\w+),.*target=([^\"]+)", text), re.findall(r"mac=([^,]+), .*model=(\w+)", text)
    pairs: dict[str, tuple[object, object]] = {
        "name": (found["c_info"].get("name"), said["name"]),
        "type": (found["c_info"].get("type"), said["type"]),
        "vcpus": (found["b_info"].get("max_vcpus"), int(said["vcpus"])),
        "memory": (found["b_info"].get("target_memkb"), int(said["memory"]) << 10),
        # What is libxl's default is left out.
        "on_reboot": (found.get("on_reboot", "destroy"), said["on_reboot"]),
        "disks": ([(each.get("vdev"), each.get("pdev_path")) for each in found.get("disks", [])], disks),
        "vifs": ([(each.get("mac"), each.get("model")) for each in found.get("nics", [])], vifs),
    }
    return [f"{key}: {read} for {wanted}" for key, (read, wanted) in pairs.items() if read != wanted]


def hvm(desk: Desk) -> Figures:
    """The exported scripts, each twice, around a plain HVM guest."""
    lab = desk.folder / "moved.yaml"
    lab.write_text(MOVED, "utf-8")
    with dom0(desk) as host:
        out = desk.folder / "moved"
        if host.nestlab.run("export", lab, "--to", "xl", "--out", out, "--at", FOLDER, "--uplink", UPLINK, timeout=120):
            raise Broken("nestlab export failed")
        for path in sorted(path for path in out.rglob("*") if path.is_file() and path.suffix in (".sh", ".cfg")):
            host.put(f"{FOLDER}/export/{path.relative_to(out)}", plain_hvm(path) if path.suffix == ".cfg"
                     else path.read_text("utf-8"))  # fmt: skip
        nonce = prepared(host)
        for script in ("create.sh", "create.sh", "start.sh", "start.sh"):
            host.must(f"sh {FOLDER}/export/{script}", timeout=300)
        seen = watched(host, "demo-host", "serial/0", nonce, HVM_SECONDS)
        for script in ("remove.sh", "remove.sh"):
            host.must(f"sh {FOLDER}/export/{script}", timeout=300)
        gone = host.run("xl domid demo-host").returncode != 0
        left = host.must(f"ls {FOLDER}; ls /sys/class/net").split()
    clean = gone and not [
        name for name in left if name.endswith((".img", ".started")) or re.match(r"nl[0-9a-f]{6}", name)
    ]
    shown = all(model in seen["devices"] for model in (_CARD, _DISK))
    return {"ok": clean and (seen["reached"] == "started" or shown), "removed": clean, **seen}


def plain_hvm(path: Path) -> str:
    """An exported configuration, without nesting, with a kernel of its own, which knows Xen and is told to leave the
    emulated devices where they are."""
    text = path.read_text("utf-8").replace("nestedhvm = 1", "nestedhvm = 0")
    more = ('tsc_mode = "native"', 'kernel = "/vmlinuz"', f'ramdisk = "{FOLDER}/initrd"',
            'extra = "console=ttyS0 xen_emul_unplug=never rdinit=/init"')  # fmt: skip
    return text + "".join(f"{line}\n" for line in more)


def pvh(desk: Desk) -> Figures:
    with dom0(desk) as host:
        nonce = prepared(host)
        host.put(f"{FOLDER}/pvh.cfg", PVH)
        host.must(f"xl create {FOLDER}/pvh.cfg", timeout=240)
        seen = watched(host, "demo-pvh", "console", nonce, PVH_SECONDS)
        host.must("xl destroy demo-pvh")
    shown = all(re.search(rf"\b{kind}-\d+", seen["devices"]) for kind in ("vif", "vbd"))
    return {"ok": seen["reached"] == "user space" and shown, **seen}


def prepared(host: Dom0) -> str:
    """RAM disk, bridge and disk are there; returns what the guest will say."""
    nonce = secrets.token_hex(8)
    script = RAMDISK.replace("FOLDER", FOLDER).replace("UPLINK", UPLINK)
    host.must(script, INIT.replace("NONCE", nonce))
    return nonce


def watched(host: Dom0, name: str, place: str, nonce: str, seconds: float) -> dict[str, Any]:
    """What came of a started guest, by its console."""
    started = time.monotonic()
    host.must(LISTEN.replace("NAME", name).replace("PLACE", place).replace("FOLDER", FOLDER))
    while True:
        console = plain(host.run(f"cat {FOLDER}/console.log").stdout)
        took = round(time.monotonic() - started, 1)
        said = re.search(rf"guest {nonce}\n(.*?)end {nonce}", console, re.DOTALL)
        if said:
            devices = " ".join(sorted(set(re.findall(r"^device (.*?) *$", said[1], re.MULTILINE))))
            return {"reached": "user space", "guest_seconds": took, "devices": devices, "last_line": ""}
        alive = host.run(f"xl domid {name}").returncode == 0
        if not alive or took > seconds:
            reached = "started" if alive else "ended by itself"
            return {"reached": reached, "guest_seconds": took, "devices": "", "last_line": last_line(console)}
        time.sleep(5)


def whole(run: Any, desk: Desk) -> Figures:
    """A unit's figures, also when a step of it failed."""
    inputs = inputs_digest(*INPUTS)
    try:
        return {**run(desk), "inputs": inputs}
    except (Broken, subprocess.TimeoutExpired) as error:
        return {"ok": False, "failed": str(error), "inputs": inputs}


def units() -> Sequence[Unit]:
    return [
        Unit("dry-run", partial(whole, dry_run), 400),
        Unit("pvh", partial(whole, pvh), 500),
        Unit("hvm", partial(whole, hvm), 1300),
    ]


def judge(done: Mapping[str, Figures]) -> Verdict:
    versions = {"xen_13": str(done["dry-run"].get("xen", "unknown"))}
    return Verdict(all(figures["ok"] for figures in done.values()), dict(done), versions=versions)


PART = Part(
    "xl-in-dom0", "exports to xl in a dom0 of ours: all read by xl, one started as HVM, a PVH guest", units, judge
)


def section(records: Iterable[Path]) -> str:
    """What the record of this part says, as Markdown."""
    raw = record_of(PART.name, records)
    if raw is None:
        return "Not run yet (`bash ci/nightly.sh xl-in-dom0`)."
    figures = raw["figures"]
    lines = [f"In a dom0 of Debian 13 with Xen {raw['versions'].get('xen_13', 'unknown')}, {raw['date'][:10]}:", ""]
    read = figures["dry-run"]
    lines.append(f"- `xl create -n` read {read.get('read', 0)} different configurations" + _ended(read))
    for name, what in (("hvm", "an exported lab's guest as plain HVM"), ("pvh", "a PVH guest")):
        row = figures[name]
        told = f" (`{row['last_line']}`)" if row.get("last_line") else ""
        lines.append(f"- {what}: {row.get('reached', 'not started')}{told}" + _ended(row))
    return "\n".join(lines)


def _ended(figures: Mapping[str, Any]) -> str:
    why = figures.get("failed") or figures.get("wrong") or "see the record"
    stale = "" if figures["inputs"] == inputs_digest(*INPUTS) else " (stale)"
    return ("" if figures["ok"] else f"; failed: {why}") + stale
