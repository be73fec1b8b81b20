"""Images of kind `disk`: a tree by diskimage-builder, laid out by us as one disk that starts under BIOS and UEFI.

Two steps, each kept on the shelf under its own key: the tree of packages (minutes), and the disk made from it with the
recipe's files and commands (seconds). The disk: MBR with GRUB behind it, an EFI partition (32 MiB), the seed
partition (1 MiB, see seed.py), and ext4 found by its label.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import re
import shlex
import sys
import tarfile
import threading
import time
import uuid
from pathlib import Path
from typing import Any

from builder.errors import LabError
from builder.events import Emit
from builder.images.cpio import FIXED_TIME, Archive
from builder.images.hosts import HostInputs, codename
from builder.images.kmods import Modules, pack
from builder.images.store import Image
from builder.images.workshop import Workshop, python_program
from builder.model.plan import File, Recipe
from builder.paths import write_atomic
from builder.run import need, run

_HERE = Path(__file__).parent
BASE_ELEMENTS = ("debian-minimal", "nestlab-base")
BASE_MODULES = (
    *("crc32c_generic", "sd_mod", "ext4", "sym53c8xx", "virtio_pci", "virtio_blk", "virtio_scsi"),
    *("mptsas", "mptspi", "megaraid_sas", "vmw_pvscsi", "nvme"),
    *("xen_privcmd", "xen_evtchn", "xen_gntdev", "xenfs"),
    *("e1000", "e1000e", "virtio_net", "8139cp", "vmxnet3"),
)
# Nearly each machine has such a controller, most with nothing on it: loaded when the root is not elsewhere.
LATE_MODULES = ("ata_piix", "ahci", "xen_blkfront")
# File systems' and disks' identities must not differ from one build to the next.
_UUID_SPACE = uuid.UUID("2f4f9c5e-6a0f-5d1e-9a43-6e6573746c61")
_APPLETS = (
    *("cat", "cp", "cut", "dd", "findfs", "head", "insmod", "mkdir", "mount", "sh", "sha256sum", "switch_root"),
    *("tar", "tr", "usleep"),
)
# Device nodes whose drivers are loaded when somebody opens them.
_NODES = (("net/tun", 10, 200), ("loop-control", 10, 237), ("mapper/control", 10, 236))
MIB = 1 << 20

TOOLS = (
    ("mmdebstrap", "mmdebstrap"),
    ("debootstrap", "debootstrap"),
    ("mke2fs", "e2fsprogs"),
    ("debugfs", "e2fsprogs"),
    ("sfdisk", "fdisk"),
    ("mcopy", "mtools"),
    ("mkfs.vfat", "dosfstools"),
    ("qemu-img", "qemu-utils"),
    ("zstd", "zstd"),
    ("sudo", "sudo"),
    ("unshare", "util-linux"),
)


def build_rootfs(
    recipe: Recipe, folder: Path, host: HostInputs, shop: Workshop, *, emit: Emit, stop: threading.Event | None
) -> dict[str, Any]:
    """The tree of packages as `folder/rootfs.tar.zst`. Returns the manifest.

    Packages are kept for later builds in `dib` beside the shelf. Raises MissingTool, HostLacks, CommandFailed.
    """
    for tool, package in TOOLS:
        need(tool, why="build disk images", package=package)
    phase = _Phases(emit, {"root.d": "bootstrap", "extra-data.d": "packages", "finalise.d": "packages"})
    phase.enter("bootstrap")
    program = Path(python_program("disk-image-create"))
    found = importlib.util.find_spec("diskimage_builder")
    library = Path(found.origin).parent.parent if found and found.origin else None
    cache = folder.parent.parent / "dib"
    sources = shop.folder / "debian.sources"
    write_atomic(sources, host.sources_list(recipe.release), mode=0o644)
    write_atomic(shop.folder / "apt.conf", host_apt_settings(), mode=0o644)
    shop.as_root(
        "rootfs",
        {
            "PYTHON": sys.executable if library else "/usr/bin/python3",
            # the keeper's own would lead to the original path
            "PYTHONPATH": str(library or ""),
            "PATH": f"{program.parent}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "ELEMENTS": " ".join(dict.fromkeys((*recipe.elements, *BASE_ELEMENTS))),
            "ELEMENTS_PATH": str(_HERE / "elements"),
            "PACKAGES": ",".join(sorted(set(recipe.packages))),
            "DIB_IMAGE_CACHE": str(cache),
            "DIB_RELEASE": codename(recipe.release),
            "ARCH": "amd64",
            # a file instead of an address: mmdebstrap takes apt's own way of naming sources, keyrings included
            "DIB_DISTRIBUTION_MIRROR": str(sources),
            "DIB_APT_SOURCES_CONF": dib_sources(host, recipe.release),
            "DIB_MMDEBSTRAP_EXTRA_ARGS": f"--aptopt={shop.folder / 'apt.conf'}",
            "DIB_CHECKSUM": "0",
            "DIB_DEBUG_TRACE": "0",
            "NESTLAB_APT_CONF": str(shop.folder / "apt.conf"),
            "JOB": str(shop.folder),
            "NESTLAB_KEYS": " ".join(sorted({source.signed_by for source in host.sources} - {""})),
        },
        on_line=phase.line,
        timeout=5400,
        stop=stop,
        plain=(shop.folder, cache, _HERE, Path(sys.prefix), *([library] if library else [])),
    )
    phase.leave()
    (shop.folder / "rootfs.tar.zst").rename(folder / "rootfs.tar.zst")
    started = int((shop.folder / "started").read_text())
    return {
        "kind": "rootfs",
        "archive": "rootfs.tar.zst",
        "release": recipe.release,
        "inputs": {"started": started, "elements": list(recipe.elements), "packages": sorted(set(recipe.packages))},
    }


def build_disk(
    recipe: Recipe, folder: Path, rootfs: Image, shop: Workshop, *, emit: Emit, stop: threading.Event | None
) -> dict[str, Any]:
    """The disk as `folder/disk.qcow2`, from the tree `rootfs`. Returns the manifest."""
    if recipe.root_size < 512 * MIB:
        raise LabError(f"a root of {recipe.root_size} bytes holds no Debian", hint="give the recipe a root_size")
    assert rootfs.archive is not None
    phase = _Phases(emit, {})
    phase.enter("configure")
    shop.as_root("unpack", {"ROOTFS": str(rootfs.archive)}, on_line=phase.line, timeout=900, stop=stop)
    tree = shop.folder / "tree"
    version = newest_kernel(tree)
    root_uuid = str(uuid.uuid5(_UUID_SPACE, recipe.root_label))
    write_initrd(shop.folder / "initrd", tree, version, recipe)
    write_atomic(shop.folder / "files.tar", tar_of(recipe.files), mode=0o600)
    write_atomic(shop.folder / "configure", "".join(f"in_tree {shlex.join(c)}\n" for c in recipe.configure), mode=0o600)
    probe = (_HERE / "disk/grub-probe").read_text().replace("@ROOT_UUID@", root_uuid)
    write_atomic(shop.folder / "grub-probe", probe, mode=0o755)
    manifest = json.loads((rootfs.archive.parent / "manifest.json").read_text())
    shop.as_root(
        "assemble",
        {
            "KERNEL": version,
            "ROOT_LABEL": recipe.root_label,
            "ROOT_UUID": root_uuid,
            "ROOT_MIB": str(recipe.root_size // MIB),
            "STARTED": str(manifest["inputs"]["started"]),
            "COMPRESSION": "-c -o compression_type=zstd",
        },
        on_line=phase.line,
        timeout=1800,
        stop=stop,
    )
    phase.leave()
    for name in ("disk.qcow2", "grub.cfg", "packages"):
        (shop.folder / name).rename(folder / name)
    with (folder / "disk.qcow2").open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "kind": "disk",
        "disk": "disk.qcow2",
        "root_label": recipe.root_label,
        "release": recipe.release,
        "inputs": {"rootfs": rootfs.key, "kernel": version},
        "digests": {"disk.qcow2": digest},
    }


def write_initrd(out: Path, tree: Path, version: str, recipe: Recipe) -> None:
    """The small initrd: busybox, the drivers that reach the root, and disk/init. Some 2 MB; starts in a second."""
    buffer = io.BytesIO()
    archive = Archive(buffer)
    for folder in ("dev", "proc", "sys", "mnt", "tmp"):
        archive.directory(folder)
    busybox = next((tree / part for part in ("bin/busybox", "usr/bin/busybox") if (tree / part).is_file()), None)
    if busybox is None:
        raise LabError("the tree has no busybox", hint="keep busybox-static among the packages")
    archive.file("bin/busybox", busybox.read_bytes(), 0o755)
    for applet in _APPLETS:
        archive.symlink(f"bin/{applet}", "busybox")
    script = (_HERE / "disk/init").read_text().replace("@ROOT_LABEL@", recipe.root_label)
    archive.file("init", script.encode(), 0o755)
    archive.file("lib/nestlab/load-drivers", (_HERE / "tiny/load-drivers").read_bytes())
    modules = Modules(tree / "lib/modules" / version)
    wanted = [name for name in dict.fromkeys((*BASE_MODULES, *recipe.modules)) if name not in LATE_MODULES]
    packed = pack(archive, modules.drivers(wanted, optional=BASE_MODULES))
    pack(archive, modules.drivers(LATE_MODULES, optional=LATE_MODULES), table="late-drivers", packed=packed)
    for name, major, minor in _NODES:
        archive.device(f"nodes/{name}", major, minor)
    archive.close()
    plain = out.with_suffix(".cpio")
    plain.write_bytes(buffer.getvalue())
    run(["zstd", "-q", "-19", "-f", "--rm", plain, "-o", out])


def newest_kernel(tree: Path) -> str:
    found = [path.name.removeprefix("vmlinuz-") for path in (tree / "boot").glob("vmlinuz-*")]
    if not found:
        raise LabError("the tree has no kernel", hint="keep linux-image-amd64 among the packages")
    return max(found, key=lambda name: [int(part) for part in re.findall(r"\d+", name)])


def tar_of(files: tuple[File, ...]) -> bytes:
    """A tar of the files, owned by root; folders are made by whoever unpacks it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for item in files:
            content = item.content.encode()
            entry = tarfile.TarInfo(item.path.lstrip("/"))
            entry.size, entry.mode, entry.mtime = len(content), item.mode, FIXED_TIME
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def dib_sources(host: HostInputs, release: str) -> str:
    """The sources in diskimage-builder's spelling: `name:one-line entry` per line."""
    lines = []
    for number, source in enumerate(host.sources):
        signed = f"[signed-by={source.signed_by}] " if source.signed_by else ""
        line = f"deb {signed}{source.uri} {codename(release)}{source.pocket} {' '.join(source.components)}"
        lines.append(f"nestlab{number}:{line}")
    return "\n".join(lines)


def host_apt_settings() -> str:
    """What of this host's apt settings getting packages may depend on: proxies, TLS, checks of dates."""
    dumped = run(["apt-config", "dump", "--format", '%F "%v";%n', "Acquire"]).stdout
    wanted = re.compile(r"^Acquire::(https?|ftp|Check-|Max-|Min-|Retries|Queue-Mode|ForceIPv)", re.IGNORECASE)
    lines = [line for line in dumped.splitlines() if wanted.match(line)]
    return "\n".join([*lines, 'Acquire::Languages "none";', ""])


class _Phases:
    """Turns lines of a build into events: phases by what the line starts, and the lines themselves as progress."""

    def __init__(self, emit: Emit, folders: dict[str, str]) -> None:
        self._emit = emit
        self._folders = folders
        self._now: str | None = None
        self._began = time.monotonic()

    def enter(self, name: str) -> None:
        if name != self._now:
            self.leave()
            self._now = name
            self._emit("begin", phase=name)

    def leave(self) -> None:
        if self._now is not None:
            self._emit("end", phase=self._now, outcome="ok")
            self._now = None

    def line(self, text: str) -> None:
        if text.startswith("nestlab-phase: "):
            self.enter(text.removeprefix("nestlab-phase: "))
            return
        started = re.search(r"dib-run-parts .*/hooks/([a-z-]+\.d)", text)
        if started and started[1] in self._folders:
            self.enter(self._folders[started[1]])
        self._emit("line", phase=self._now, text=text)
