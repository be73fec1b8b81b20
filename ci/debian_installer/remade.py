"""Components that the mirror has lost, made again from the ordinary packages of the same release.

What such a component says of itself is the stanza of the index; what it holds comes from the package that its source
builds for installed systems. Kernel modules are those for the machines that nestlab describes, with all they depend on.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from builder.errors import LabError
from builder.images.kmods import Modules
from builder.run import run
from ci.debian_installer.components import Component

SUFFIX = "+nestlab1"
"""Behind the version of what was made here, so that nobody takes it for Debian's."""

MODULES: Mapping[str, tuple[str, ...]] = {
    "ata": ("libata",),
    "cdrom-core": ("cdrom", "sr_mod"),
    "ext4": ("ext4",),
    "isofs": ("isofs",),
    "loop": ("loop",),
    "md": ("md-mod", "raid0", "raid1", "raid10", "raid456", "dm-mod", "dm-snapshot", "dm-mirror", "dm-raid"),
    "pata": ("ata_generic",),
    "sata": ("ahci", "ata_piix"),
    "scsi": ("sym53c8xx", "mptspi", "mptsas", "mpt3sas", "megaraid_sas", "vmw_pvscsi", "hv_storvsc", "virtio_blk",
             "virtio_scsi", "xen-blkfront", "nvme"),
}  # fmt: skip
"""By family of modules, those that its component begins with."""


@dataclass(frozen=True, slots=True)
class Contents:
    """Of a component without modules: the packages, the files out of them (source to target), and links."""

    packages: tuple[str, ...]
    files: Mapping[str, str]
    links: Mapping[str, str]


_FSCK = {f"usr/sbin/{tool}.ext{number}": program
         for tool, program in (("mkfs", "mke2fs"), ("fsck", "e2fsck")) for number in (2, 3, 4)}  # fmt: skip
CONTENTS: Mapping[str, Contents] = {
    "e2fsprogs-udeb": Contents(
        ("e2fsprogs", "libext2fs2t64", "libcom-err2", "libss2"),
        {
            **{f"*/{name}": f"usr/sbin/{name}" for name in ("mke2fs", "e2fsck", "tune2fs", "resize2fs", "badblocks")},
            "etc/mke2fs.conf": "etc/mke2fs.conf",
            **{f"*/{name}.so.*": "usr/lib/" for name in ("libext2fs", "libe2p", "libcom_err", "libss")},
        },
        _FSCK,
    ),
    # Only resizing a disk's Windows partition would use it; partman-partitioning depends on its being there.
    "ntfs-3g-udeb": Contents((), {}, {}),
}


def modules_family(component: Component) -> str:
    """`scsi` of scsi-modules-6.12.107+deb13-amd64-di; empty for what is no component of modules."""
    match = (
        re.fullmatch(rf"(.+)-modules-{re.escape(component.kernel)}-di", component.name) if component.kernel else None
    )
    return match[1] if match else ""


def can_make(component: Component) -> bool:
    return modules_family(component) in MODULES or component.name in CONTENTS


def make_modules(component: Component, kernel: Path, initrd: Path, into: Path) -> Path:
    """The component with a family's modules. `kernel` is the kernel's package unpacked; what `initrd` has is left
    out. Returns the udeb."""
    family, tree = modules_family(component), into / component.name
    shutil.rmtree(tree, ignore_errors=True)
    folder = Path("usr/lib/modules") / component.kernel
    here = {path.name for path in (initrd / folder).rglob("*.ko*")}
    for driver in Modules(kernel / folder).drivers(MODULES[family]):
        for file in driver.files:
            target = tree / file.relative_to(kernel)
            if file.name not in here and not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, target)
    return _packed(component, tree, into)


def make_contents(component: Component, package: Path | None, into: Path) -> Path:
    """The component with the files that `CONTENTS` names, out of its packages unpacked in `package`. Returns the
    udeb."""
    contents, tree = CONTENTS[component.name], into / component.name
    shutil.rmtree(tree, ignore_errors=True)
    for pattern, target in contents.files.items():
        found = sorted((package or into).rglob(pattern))
        if not found:
            raise LabError(f"{pattern} for {component.name} is in none of {', '.join(contents.packages)}",
                           hint="compare the packages of this release with CONTENTS")  # fmt: skip
        for file in found:
            place = tree / target / (file.name if target.endswith("/") else "")
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, place, follow_symlinks=False)
    for link, target in contents.links.items():
        (tree / link).symlink_to(target)
    return _packed(component, tree, into)


def _packed(component: Component, tree: Path, into: Path) -> Path:
    control = tree / "DEBIAN/control"
    control.parent.mkdir(parents=True, exist_ok=True)
    fields = {name: text for name, text in component.fields.items() if name not in _OF_THE_FILE}
    fields |= {"Version": fields["Version"] + SUFFIX, "Maintainer": "nobody <nobody@localhost>"}
    control.write_text("".join(f"{name}: {text}\n" for name, text in fields.items()))
    file = into / f"{component.name}.udeb"
    run(["dpkg-deb", "--root-owner-group", "-Zxz", "--build", tree, file])
    shutil.rmtree(tree)
    return file


_OF_THE_FILE = ("Filename", "Size", "MD5sum", "SHA1", "SHA256", "Description-md5", "Source", "Tag")
