"""How long a dom0 image takes to build from nothing, beside mmdebstrap and the same assembler.

Both sides start from empty caches, download the same packages from the same source, and end with the same kind of
qcow2. The other side is given the exact list of packages that ours installs, leaves out the same files, and makes no
initrd that ours does not make. Rounds are interleaved and the order within a round alternates. Needs root or sudo.

    python ci/bench/image_build.py --lab labs/debian-dom0.yaml --rounds 2
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from builder.images.build import build
from builder.images.disk import build_disk, host_apt_settings
from builder.images.hosts import HostInputs, codename, read_host
from builder.images.store import Image, ImageStore
from builder.images.workshop import Workshop
from builder.model.load import read_lab
from builder.model.plan import Recipe
from builder.systems import load_system, traits

TARGET = 1.3
MMDEBSTRAP = """\
set -eu -o pipefail
. "$1/environment"
date +%s >"$1/started"
mmdebstrap --mode=root --variant=minbase --include="$PACKAGES" --aptopt="$1/apt.conf" \\
    --dpkgopt=force-confold --dpkgopt=force-confdef \\
    --dpkgopt=path-exclude=/usr/share/doc/* --dpkgopt=path-include=/usr/share/doc/*/copyright \\
    --dpkgopt=path-exclude=/usr/share/man/* --dpkgopt=path-exclude=/usr/share/info/* \\
    --dpkgopt=path-exclude=/usr/share/locale/* --dpkgopt=path-include=/usr/share/locale/locale.alias \\
    --dpkgopt=path-exclude=/usr/share/gtk-doc/* \\
    --essential-hook='echo grub-pc grub-pc/install_devices_empty boolean true | chroot "$1" debconf-set-selections' \\
    --essential-hook='mkdir -p "$1/etc/initramfs-tools"' \\
    --essential-hook='echo update_initramfs=no >"$1/etc/initramfs-tools/update-initramfs.conf"' \\
    "$SUITE" "$1/rootfs.tar" "$1/debian.sources"
zstd -q -3 -T0 --rm "$1/rootfs.tar" -o "$1/rootfs.tar.zst"
chown "$OWNER" "$1/rootfs.tar.zst" "$1/started"
"""


def quiet(*_: Any, **__: Any) -> None:
    """Phases are not shown."""


def ours(recipe: Recipe, host: HostInputs, scratch: Path) -> tuple[float, Image]:
    began = time.monotonic()
    image = build(recipe, host, ImageStore(scratch / "cache"), work=scratch / "work", emit=quiet)
    return time.monotonic() - began, image


def theirs(recipe: Recipe, host: HostInputs, scratch: Path, packages: list[str]) -> float:
    script = scratch / "mmdebstrap"
    script.write_text(MMDEBSTRAP)
    began = time.monotonic()
    tree = scratch / "tree"
    tree.mkdir()
    with Workshop(scratch / "work") as shop:
        (shop.folder / "debian.sources").write_text(host.sources_list(recipe.release))
        (shop.folder / "apt.conf").write_text(host_apt_settings())
        settings = {"PACKAGES": ",".join(packages), "SUITE": codename(recipe.release), "LC_ALL": "C.UTF-8"}
        shop.as_root(str(script), settings, on_line=quiet, timeout=3600)
        (shop.folder / "rootfs.tar.zst").rename(tree / "rootfs.tar.zst")
        started = int((shop.folder / "started").read_text())
    (tree / "manifest.json").write_text(json.dumps({"inputs": {"started": started}}))
    rootfs = Image(key="0" * 64, kind="rootfs", archive=tree / "rootfs.tar.zst")
    out = scratch / "out"
    out.mkdir()
    with Workshop(scratch / "work") as shop:
        build_disk(recipe, out, rootfs, shop, emit=quiet, stop=None)
    return time.monotonic() - began


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lab", type=Path, default=Path("labs/debian-dom0.yaml"))
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="where to work; 6 GB are needed")
    parser.add_argument("--mirror", default=os.environ.get("NESTLAB_DEBIAN_MIRROR"))
    parser.add_argument("--json", type=Path, help="write the result there, too")
    given = parser.parse_args()
    host = read_host(mirror=given.mirror)
    lab = read_lab(given.lab, traits())
    recipe = load_system(lab.nodes[0].system).plan(lab.nodes[0]).recipe
    if recipe is None or recipe.kind != "disk":
        print(f"{given.lab} has no disk image", file=sys.stderr)
        return 2

    times: dict[str, list[float]] = {"nestlab": [], "mmdebstrap": []}
    loads, sizes, packages = [], [], []
    for number in range(given.rounds):
        # ours goes first once, to tell the packages
        for side in ("nestlab", "mmdebstrap") if number % 2 == 0 else ("mmdebstrap", "nestlab"):
            loads.append(os.getloadavg()[0])
            with tempfile.TemporaryDirectory(dir=given.folder, prefix="image-build-") as scratch:
                if side == "nestlab":
                    seconds, image = ours(recipe, host, Path(scratch))
                    assert image.disk is not None
                    sizes.append(image.size)
                    listed = (image.disk.parent / "packages").read_text().splitlines()
                    packages = [line.split()[0] for line in listed]
                else:
                    seconds = theirs(recipe, host, Path(scratch), packages)
            times[side].append(round(seconds, 1))
            print(f"round {number + 1}: {side} {seconds:.1f} s (load {loads[-1]:.1f})", file=sys.stderr)

    medians = {side: statistics.median(values) for side, values in times.items()}
    ratio = medians["nestlab"] / medians["mmdebstrap"]
    result = {
        "bench": "image_build",
        "lab": given.lab.name,
        "release": recipe.release,
        "packages": len(packages),
        "seconds": times,
        "median": medians,
        "ratio": round(ratio, 3),
        "target": TARGET,
        "met": ratio <= TARGET,
        "load_at_start": [round(load, 1) for load in loads],
        "image_bytes": sizes,
    }
    text = json.dumps(result, indent=1)
    print(text)
    if given.json:
        given.json.write_text(text + "\n")
    print(f"ratio {ratio:.2f} (target {TARGET}), by hand: {shlex.join(sys.argv)}", file=sys.stderr)
    return 0 if ratio <= TARGET else 1


if __name__ == "__main__":
    raise SystemExit(main())
