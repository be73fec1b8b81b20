"""What `nestlab explain` knows of this system."""

from __future__ import annotations

from collections.abc import Mapping

from builder.systems.causes import of_boots
from builder.systems.dead import DeadSetting
from builder.systems.living import LivingSetting
from builder.systems.rhel.judge.codes import CODES
from builder.systems.rhel.phases import boots
from builder.systems.rhel.releases import RELEASES

__all__ = ["CAUSES", "CODES", "DEAD", "LIVING"]

CAUSES = of_boots(boot for release in RELEASES.values() for boot in boots(release, "poweroff"))
"""Why an installation or a boot of such a host may have failed."""

DEAD: Mapping[str, DeadSetting] = {
    "zerombr yes": DeadSetting(
        was="the answer to the installer's question about disks that it cannot read",
        today="zerombr alone; nestlab writes it",
        why="releases 5 and 6 pass over the word with a warning, and later ones stop at it",
        source="pykickstart, zerombr; anaconda rhel6-branch, class ZeroMbr",
    ),
    "--location=partition": DeadSetting(
        was="bootloader --location=partition: GRUB legacy in the first sector of /boot",
        today="--location=mbr, which nestlab writes; with UEFI there is no such choice",
        why="GRUB 2 is not installed to a partition: installers from release 7 on stop at it",
        source="anaconda bootloader.py: GRUB2 does not support installation to a partition.",
    ),
    "--driveorder": DeadSetting(
        was="bootloader --driveorder: the disks in the order in which the BIOS has them, the one to start from first",
        today="bootloader --boot-drive names that one; nestlab writes --driveorder for release 6 alone",
        why="from release 7 on it is read, and does not choose where the boot loader goes",
        source="anaconda rhel7-branch kickstart.py",
    ),
    "physical volume (LVM)": DeadSetting(
        was='raid pv.N --fstype="physical volume (LVM)": what an array under a volume group is formatted as',
        today="raid pv.N alone",
        why="a place that begins with pv. is a physical volume, whatever --fstype says",
        source="anaconda rhel6-branch kickstart.py; main custom_partitioning.py",
    ),
    "ks=": DeadSetting(
        was="where the kickstart is, on the installer's command line, and beside it ksdevice=, repo= and stage2=",
        today="inst.ks=, inst.repo=, inst.stage2=; nestlab writes ks= for release 6 alone",
        why="releases 7 and 8 still take the names without their prefix; from 9 on they are passed over",
        source="anaconda dracut: check_removed_no_inst_arg",
    ),
}

_RECIPE = "the RAID10 recipe for four disks, of CentOS 6"

LIVING: Mapping[str, LivingSetting] = {
    "--level=RAID10": LivingSetting(
        does="The array that carries the volume group; /boot is on RAID1, which every boot loader reads.",
        file="ks.cfg",
        written="--level=RAID10",
        lab="raid: [{level: 10, disks: [...]}]",
        source=_RECIPE,
    ),
    "--pesize=65536": LivingSetting(
        does="Extents of the volume group, in KiB.",
        file="ks.cfg",
        written="--pesize=65536",
        lab="install.extent: 64MiB",
        source=f"{_RECIPE}; blivet: powers of two",
    ),
    "SystemRoot": LivingSetting(
        does="Name of the volume of /, which takes all that swap leaves.",
        file="ks.cfg",
        written="--name=SystemRoot",
        lab="install.volume_group; the volumes' names are always SystemRoot and SystemSwap",
        source=_RECIPE,
    ),
    "discard": LivingSetting(
        does="Blocks that are freed are told to the disk, in fstab's options or once a week by fstrim.timer.",
        file="ks.cfg",
        written="--fsoptions=defaults,discard",
        lab="install.trim: discard, timer or off",
        source=_RECIPE,
    ),
    "pcie_aspm=off": LivingSetting(
        does="No power saving of PCI Express, at which cards of 82574L (boards X9SCM and X9SCL) lose their network.",
        file="ks.cfg",
        written="pcie_aspm=off",
        lab="install.quirks: [x9scm-nic]",
        source="inferred: the parameter is lost from the text that tells of it, and this one helped like boards",
    ),
}
