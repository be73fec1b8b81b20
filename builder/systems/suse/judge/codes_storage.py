"""The codes of findings about disks, of both installers."""

from __future__ import annotations

from collections.abc import Mapping

from builder.systems.code import Code

_YAST = "15.6, sles15"
_ALL = "all"
_SNG = "yast-storage-ng d831b098"

STORAGE_CODES: Mapping[str, Code] = {
    "NLS050": Code(True, "Nothing is mounted at /: a fatal issue.", _ALL, f"{_SNG} autoinst_issues/missing_root.rb"),
    "NLS051": Code(
        True,
        "A drive is of a disk that the machine does not have: a fatal issue.",
        _YAST,
        f"{_SNG} autoinst_issues/no_disk.rb",
    ),
    "NLS052": Code(
        True,
        "Neither use nor initialize says what becomes of partitions that are there: a fatal issue where there are any.",
        _YAST,
        f"{_SNG} autoinst_space_maker.rb, register_invalid_use_value",
    ),
    "NLS053": Code(True, "A partition is of an array that no drive makes.", _YAST, f"{_SNG} autoinst_md_planner.rb"),
    "NLS054": Code(True, "An array without members: a fatal issue.", _YAST, f"{_SNG} autoinst_issues/no_components.rb"),
    "NLS055": Code(
        True,
        "The level is missing or unknown. YaST makes a RAID1 of it, and tells so among other issues; Agama refuses it.",
        _ALL,
        f"{_SNG} autoinst_md_planner.rb, raid_level_from",
    ),
    "NLS056": Code(True, "Too few members for the level, or RAID10 over an odd number.", _ALL, "md(4)"),
    "NLS057": Code(True, "Two members on one disk: the array does not outlive that disk.", _ALL, "md(4)"),
    "NLS058": Code(
        True,
        "GRUB's files and Xen are read before any volume manager runs: /boot on a partition or on RAID1.",
        _ALL,
        "GRUB manual; the source recipe of a 4-disk RAID10",
    ),
    "NLS059": Code(
        True,
        "An array has its name from its drive's device, /dev/md/NAME. The old way, one drive /dev/md for all, has the "
        "number of each partition, and leaves out what has none.",
        _YAST,
        f"{_SNG} drive_section.rb, name_for_md; autoinst_md_planner.rb, valid_part_section?",
    ),
    "NLS060": Code(
        False,
        "A chunk size without a unit is in kilobytes of 1,000 bytes, and then no power of two.",
        _YAST,
        f"{_SNG} autoinst_md_planner.rb, chunk_size_from_string",
    ),
    "NLS061": Code(True, "A volume group without a physical volume.", _ALL, f"{_SNG} autoinst_issues/no_components.rb"),
    "NLS062": Code(
        True, "A partition is of a volume group that no drive makes.", _YAST, f"{_SNG} autoinst_vg_planner.rb"
    ),
    "NLS063": Code(True, "A logical volume has a name: lv_name.", _YAST, f"{_SNG} autoinst_vg_planner.rb"),
    "NLS064": Code(
        True, "The size cannot be read; the partition is left out.", _YAST, f"{_SNG} autoinst_size_parser.rb"
    ),
    "NLS065": Code(True, "Two file systems for one place, or two volumes of one name.", _ALL, "mount(8)"),
    "NLS066": Code(
        True,
        "A partition is for one thing: of mount, raid_name and lvm_group the first counts, and the others are ignored.",
        _YAST,
        f"{_SNG} autoinst_drive_planner.rb, configure_usage",
    ),
    "NLS067": Code(True, "The partitions are larger than the disk.", _ALL, f"{_SNG} autoinst_issues/no_disk_space.rb"),
    "NLS068": Code(
        False,
        "YaST adds an EFI system partition by itself where there is room left for it, on one disk of an array alone.",
        _YAST,
        f"{_SNG} boot_requirements_strategies/uefi.rb, needed_partitions",
    ),
    "NLS069": Code(
        False,
        "With a BIOS, GRUB's core has no place on a GPT disk but a partition of its own. YaST adds one, on one disk.",
        _YAST,
        f"{_SNG} boot_requirements_strategies/legacy.rb",
    ),
    "NLS070": Code(
        False,
        "Too small for two kernels with their initrds and Xen, or for what the firmware starts from.",
        _ALL,
        f"{_SNG} volume_specification_builder.rb",
    ),
    "NLS071": Code(True, "An msdos partition table ends at 2 TiB.", _ALL, "partition table"),
    "NLS072": Code(
        True, "No BIOS starts from a disk with sectors of 4096 bytes; UEFI does.", _ALL, "int 13h: 512 bytes"
    ),
    "NLS073": Code(
        False,
        "Members with sectors of 512 and of 4096 bytes: the array has the larger, and a file system made for the "
        "smaller does not mount when it comes to that.",
        _ALL,
        "md(4)",
    ),
    "NLS074": Code(
        True,
        "Names such as sda are given in the order in which disks answer, which differs from one start to the next, on "
        "one controller as well: they are good for all of the disks, not for some.",
        _ALL,
        "Linux 5.3, commit f049cf1a7b67; seen with four disks on one controller",
    ),
}
