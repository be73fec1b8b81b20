"""Images of kind `initramfs`: Debian's kernel and a memory root of busybox and an ssh server, booted directly.

The contract of its /init (builder/images/tiny/init), for whoever writes a node's seed:

- `AUTHORIZED_KEYS`, `HOST_KEY` (OpenSSH format, ed25519), `HOSTNAME`: the same paths as on a disk image. Without
  a host key one is made at boot; without authorized keys nobody gets in.
- `MANAGEMENT`: one line `ADDRESS/PREFIX [GATEWAY]` for eth0, a second faster than what comes without it: DHCP, else
  10.0.3.15/24 by way of 10.0.3.2. eth0 has no IPv6.
- `NETWORK`: a POSIX shell file run with `sh -e` after ssh is up, for the cards of the lab (eth1, eth2, ... in the
  order of their PCI slots): `ip link add link eth1 name eth1.10 type vlan id 10`, `ip link set eth1 mtu 9000`, ...
- On the console `READY` is printed when ssh listens and `NETWORK` has ended well, else a line that begins with
  `FAILED` and says why. Then a shell on ttyS0.
"""

from __future__ import annotations

import io
import lzma
import re
import shutil
import struct
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

from builder.errors import LabError
from builder.events import Emit
from builder.images.cpio import Archive, write_files
from builder.images.kmods import Modules, pack
from builder.images.packages import AptRoot
from builder.model.plan import File, Recipe
from builder.paths import write_atomic
from builder.run import run

AUTHORIZED_KEYS = "/root/.ssh/authorized_keys"
HOST_KEY = "/etc/ssh/ssh_host_ed25519_key"
HOSTNAME = "/etc/hostname"
MANAGEMENT = "/etc/nestlab/management"
NETWORK = "/etc/nestlab/network.sh"
READY = "nestlab-tiny: ready"
FAILED = "nestlab-tiny: failed: "

# For a kernel that nobody measures speed on: mitigations cost much under emulation and protect nothing here.
ARGUMENTS = (
    "console=ttyS0,115200",
    "net.ifnames=0",
    "panic=-1",
    "mitigations=off",
    "audit=0",
    "apparmor=0",
    "cryptomgr.notests",
    "random.trust_cpu=on",
)
BASE_MODULES = ("e1000", "virtio_pci", "virtio_net", "8021q", "bridge")

_PACKAGES = ("busybox-static", "dropbear-bin")
_SCRIPTS = Path(__file__).parent / "tiny"
_USERS = (
    ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"),
    ("etc/group", "root:x:0:\ntty:x:5:\n"),
    ("etc/shadow", "root:*:1::::::\n"),
    ("etc/shells", "/bin/sh\n"),
)


def build_tiny(recipe: Recipe, folder: Path, apt: AptRoot, work: Path, *, emit: Emit) -> dict[str, object]:
    """Make `kernel` and `initrd` in `folder`, unpacking packages below `work`; returns the manifest."""
    emit("begin", phase="packages")
    apt.refresh()
    kernel_package = kernel_of(apt)
    names = apt.unpack((kernel_package, *apt.closure((*_PACKAGES, *recipe.packages))), work)
    emit("end", phase="packages", outcome="ok")
    emit("begin", phase="assemble")
    version = kernel_package.removeprefix("linux-image-")
    (folder / "kernel").write_bytes(fast_kernel((work / "boot" / f"vmlinuz-{version}").read_bytes()))
    with (folder / "initrd").open("wb") as out:
        _write_root(Archive(out), work, version, recipe)
    emit("end", phase="assemble", outcome="ok")
    return {
        "kind": "initramfs",
        "kernel": "kernel",
        "initrd": "initrd",
        "arguments": list(ARGUMENTS),
        "release": recipe.release,
        "inputs": {"packages": sorted(names.values())},
    }


def seed_initrd(base_initrd: Path, files: Sequence[File], out: Path) -> Path:
    """The image's initrd followed by one node's own files, which win over equal paths. `out` is private (0600)."""
    seed = io.BytesIO()
    write_files(seed, files)
    base = base_initrd.read_bytes()
    write_atomic(out, base + b"\0" * (-len(base) % 512) + seed.getvalue(), mode=0o600)
    return out


def kernel_of(apt: AptRoot) -> str:
    """The package that Debian's `linux-image-amd64` stands for at the moment."""
    for name in apt.depends("linux-image-amd64"):
        if name.startswith("linux-image-"):
            return name
    raise LabError("linux-image-amd64 names no kernel package", hint="look at this host's Debian package sources")


def fast_kernel(image: bytes) -> bytes:
    """The ELF kernel inside a bzImage: unpacking it here instead of under emulation saves 2 s of each boot.

    QEMU starts it through its PVH entry; UEFI firmware cannot (tiny nodes are BIOS). A kernel packed in a way that
    nothing here unpacks is handed over as it is, which also boots.
    """
    setup_sectors = image[0x1F1] or 4
    offset, length = struct.unpack_from("<II", image, 0x248)
    payload = image[(setup_sectors + 1) * 512 + offset :][:length]
    if payload.startswith(b"\xfd7zXZ\0"):
        return lzma.LZMADecompressor().decompress(payload)
    zstd = shutil.which("zstd")
    if payload.startswith(b"\x28\xb5\x2f\xfd") and zstd:
        # the last four bytes are the unpacked size
        done = subprocess.run([zstd, "-dcq"], input=payload[:-4], stdout=subprocess.PIPE, check=False)
        if done.returncode == 0:
            return done.stdout
    return image


def _write_root(archive: Archive, work: Path, version: str, recipe: Recipe) -> None:
    for folder in ("dev", "proc", "sys", "run", "mnt", "var/log"):
        archive.directory(folder)
    archive.directory("tmp", 0o1777)
    archive.directory("root", 0o700)
    busybox = work / "bin/busybox" if (work / "bin/busybox").exists() else work / "usr/bin/busybox"
    archive.file("bin/busybox", busybox.read_bytes(), 0o755)
    programs = {path.name: path for part in ("usr/bin", "usr/sbin") for path in (work / part).glob("dropbear*")}
    for name, path in sorted(programs.items()):
        archive.file(f"bin/{name}", path.read_bytes(), 0o755)
    for applet in sorted(set(run([busybox, "--list"]).stdout.split()) - {"busybox", *programs}):
        archive.symlink(f"bin/{applet}", "busybox")
    for link in ("sbin", "usr/bin", "usr/sbin"):
        archive.symlink(link, "/bin")
    for name, content in _libraries(work, programs.values()).items():
        archive.file(name, content, 0o755)
    for name, text in _USERS:
        archive.file(name, text.encode(), 0o600 if name.endswith("shadow") else 0o644)
    archive.file("init", (_SCRIPTS / "init").read_bytes(), 0o755)
    archive.file("lib/nestlab/load-drivers", (_SCRIPTS / "load-drivers").read_bytes())
    archive.file("lib/nestlab/dhcp-event", (_SCRIPTS / "dhcp-event").read_bytes(), 0o755)
    archive.file("etc/inittab", (_SCRIPTS / "inittab").read_bytes())
    modules_root = work / "lib/modules" if (work / "lib/modules").is_dir() else work / "usr/lib/modules"
    modules = Modules(modules_root / version)
    pack(archive, modules.drivers(dict.fromkeys((*BASE_MODULES, *recipe.modules))))
    archive.close()


def _libraries(work: Path, programs: Iterable[Path]) -> dict[str, bytes]:
    """Shared libraries that the programs need, by the path they are looked for at. The unpacked loader tells."""
    loader = next(
        path for path in sorted(work.rglob("ld-linux-x86-64.so.2")) if path.is_file() and not path.is_symlink()
    )
    found = {"lib64/ld-linux-x86-64.so.2": loader.read_bytes()}
    folders = [work / part for part in ("lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu")]
    search = ":".join(str(folder) for folder in folders)
    for program in programs:
        listed = run([loader, "--library-path", search, "--list", program], hint="libraries of the ssh server").stdout
        for name, path in re.findall(r"^\s*(\S+) => (/\S+)", listed, re.MULTILINE):
            if not name.startswith(("/", "ld-linux")):
                if not Path(path).is_relative_to(work):
                    raise LabError(f"no unpacked package holds the library {name}")
                found[f"lib/x86_64-linux-gnu/{name}"] = Path(path).read_bytes()
    return dict(sorted(found.items()))
