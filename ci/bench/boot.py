"""Power-on to ssh: `nestlab up` beside bare QEMU on the same image, in interleaved pairs.

    .venv/bin/python -m ci.bench.boot [--lab labs/debian-dom0.yaml] [--pairs 5] [--json FILE]

`nestlab`: from the start of the command to its end (node ready, shared ssh connection open). `power_on`: within it,
from the start of the domain to the first word of the ssh server. `bare`: from the start of a QEMU with the documented
devices, its disk made beforehand, to the first word of the ssh server. Both sides are run once before they count.
The floor is the guest's own boot, which both sides share; what nestlab adds is the difference.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from builder.drivers.ports import PortTable
from builder.drivers.ssh import wait_banner
from builder.events import read_events
from builder.hypervisors.kvm import TRANSLATIONS_MIB
from builder.images.store import Image
from builder.lifecycle.plan import NodePlan, plan_lab
from builder.model.load import read_lab
from builder.paths import Places
from builder.systems import load_system, traits
from ci.bench.bare import image_of, prepare

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--lab", type=Path, default=ROOT / "labs/debian-dom0.yaml")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quiet-for", type=float, default=600, help="seconds to wait for a load below 1")
    args = parser.parse_args()
    load = wait_for_quiet(args.quiet_for)
    plan = plan_lab(read_lab(args.lab, traits()), load_system)
    (node,) = plan.nodes
    user = Places.from_environment(os.environ)
    image = image_of(node)
    bare: list[float] = []
    whole: list[float] = []
    power_on: list[float] = []
    with tempfile.TemporaryDirectory(prefix="nlb-", dir="/tmp") as name:
        scratch = Path(name)
        for number in range(args.pairs + 1):
            seconds = bare_boot(node, image, scratch / "bare")
            up_seconds, on_seconds = nestlab_boot(
                args.lab, plan.lab.name, Places(scratch / "s", user.cache, scratch / "r")
            )
            print(
                f"{number}: bare {seconds:.2f} s, nestlab up {up_seconds:.2f} s (power-on {on_seconds:.2f} s)",
                file=sys.stderr,
            )
            if number:
                bare.append(seconds)
                whole.append(up_seconds)
                power_on.append(on_seconds)
    report = summary(bare, whole, power_on) | {"lab": plan.lab.name, "pairs": args.pairs, "load_at_start": load}
    print(json.dumps(report, indent=1))
    if args.json:
        args.json.write_text(json.dumps(report, indent=1) + "\n")
    return 0 if report["within_limit"] else 1


def wait_for_quiet(seconds: float) -> float:
    """The 1-minute load, once it is below 1 or `seconds` are over."""
    deadline = time.monotonic() + seconds
    while os.getloadavg()[0] >= 1 and time.monotonic() < deadline:
        time.sleep(5)
    return round(os.getloadavg()[0], 2)


def bare_boot(node: NodePlan, image: Image, folder: Path) -> float:
    """One boot of the image under QEMU alone; the disk is made before the clock starts."""
    folder.mkdir()
    bare = prepare(node, image, folder)
    ports = PortTable()
    (port,) = ports.claim(1)
    argv = [
        "qemu-system-x86_64", "-accel", f"tcg,thread=multi,tb-size={TRANSLATIONS_MIB}", "-machine", "pc",
        "-cpu", "max,-smap,-xsave", "-m", str(node.node.memory >> 20), "-smp", str(node.node.cpus),
        "-nodefaults", "-no-user-config", "-display", "none", "-vga", "none", "-serial", f"file:{folder}/console.log",
        "-drive", f"if=none,id=d0,file={bare.disk},format=qcow2,cache=unsafe,discard=unmap,detect-zeroes=unmap",
        "-device", "lsi53c895a,id=s0,addr=0x10", "-device", "scsi-hd,bus=s0.0,drive=d0,bootindex=1",
        "-netdev", f"user,id=n0,hostfwd=tcp:127.0.0.1:{port}-:22",
        "-device", f"e1000,netdev=n0,mac={node.node.management_mac},addr=0x3,romfile=",
    ]  # fmt: skip
    started = time.monotonic()
    qemu = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        wait_banner(bare.target(port), deadline=time.monotonic() + 900)
        return time.monotonic() - started
    finally:
        qemu.kill()
        qemu.wait()
        ports.release()
        shutil.rmtree(folder)


def nestlab_boot(lab: Path, name: str, places: Places) -> tuple[float, float]:
    """Seconds of the whole command, and from the start of the domain to ssh within it."""
    env = {**os.environ, "NESTLAB_STATE": str(places.state), "NESTLAB_CACHE": str(places.cache),
           "NESTLAB_RUNTIME": str(places.runtime)}  # fmt: skip
    command = [sys.executable, "-m", "builder"]
    started = time.monotonic()
    try:
        subprocess.run([*command, "up", str(lab)], env=env, check=True, capture_output=True)
        seconds = time.monotonic() - started
        events = list(read_events(places.lab(name) / "events.jsonl"))
    finally:
        with contextlib.suppress(subprocess.CalledProcessError):
            subprocess.run([*command, "down", name], env=env, check=True, capture_output=True)
    boot = next(e for e in events if e.kind == "begin" and e.step and e.step.endswith("/boot") and not e.phase)
    ssh = next(e for e in events if e.kind == "end" and e.phase == "ssh")
    return seconds, ssh.t_mono - boot.t_mono


def summary(bare: list[float], whole: list[float], power_on: list[float]) -> dict[str, object]:
    """Medians and spreads. The limit is on power-on to ssh: 1.05 times bare QEMU's median, plus one second. What the
    whole command takes besides (interpreter, keys, disks, libvirt, key exchange of the shared connection) is told."""
    middle = statistics.median(bare)
    result: dict[str, object] = {
        name: {
            "median": round(statistics.median(values), 2),
            "min": round(min(values), 2),
            "max": round(max(values), 2),
        }
        for name, values in (("bare", bare), ("nestlab", whole), ("power_on", power_on))
    }
    result["ratio"] = round(statistics.median(w / b for w, b in zip(whole, bare, strict=True)), 3)
    result["power_on_ratio"] = round(statistics.median(p / b for p, b in zip(power_on, bare, strict=True)), 3)
    result["command_over_bare"] = round(statistics.median(w - b for w, b in zip(whole, bare, strict=True)), 2)
    result["within_limit"] = statistics.median(power_on) <= 1.05 * middle + 1
    return result


if __name__ == "__main__":
    sys.exit(main())
