"""The codes of findings about kickstarts, with what `nestlab explain` tells about each."""

from __future__ import annotations

from collections.abc import Mapping

from builder.systems.code import Code

_ALL = "all"

CODES: Mapping[str, Code] = {
    "NLK001": Code(
        True, "The line cannot be split into words: a quote is left open.", _ALL, "pykickstart parser, shlex"
    ),
    "NLK002": Code(
        True,
        "A section has no %end. Only releases up to 5 took the end of the file for it.",
        _ALL,
        "pykickstart parser",
    ),
    "NLK003": Code(
        True,
        "%include of a file that is only made during the installation cannot be judged here, nor by pykickstart.",
        _ALL,
        "pykickstart parser: error opening file",
    ),
    "NLK004": Code(True, "The release does not know this section.", "el6", "anaconda rhel6-branch kickstart.py"),
    "NLK010": Code(True, "The release has no such command any more, or not yet.", _ALL, "pykickstart handlers"),
    "NLK011": Code(True, "The release has no such option of that command.", _ALL, "pykickstart handlers"),
    "NLK012": Code(False, "The release ignores it, and will take it out.", _ALL, "pykickstart handlers"),
    "NLK013": Code(
        True,
        "`zerombr yes` stands in old recipes. Only the installer of release 6 took the word, with a warning.",
        _ALL,
        "pykickstart zerombr; anaconda rhel6-branch class ZeroMbr",
    ),
    "NLK014": Code(
        True,
        "No release has a command, or a section, of that name: the installer stops there.",
        _ALL,
        "pykickstart handlers",
    ),
    "NLK020": Code(
        True,
        "GRUB 2 refuses to be installed to a partition. Old recipes for GRUB legacy say --location=partition.",
        "el7 and later",
        "anaconda bootloader.py: GRUB2 does not support installation to a partition.",
    ),
    "NLK021": Code(True, "The boot drive is none of the disks that the kickstart uses.", _ALL, "anaconda bootloader"),
    "NLK022": Code(
        False,
        "--driveorder is accepted and means little since release 7: --boot-drive names the disk.",
        "el7 and later",
        "anaconda rhel7-branch kickstart.py",
    ),
    "NLK023": Code(
        True,
        "With a BIOS, a GPT disk that gets a boot loader needs a biosboot partition of 1 MiB. Releases to 9 look at "
        "the first disk, later ones at every disk of the array of /boot.",
        _ALL,
        "anaconda storage/checker/utils.py: Your BIOS-based system needs a special partition",
    ),
    "NLK024": Code(
        False, "A biosboot partition does nothing on an msdos disk or with UEFI.", _ALL, "anaconda platform.py"
    ),
    "NLK025": Code(
        True,
        "There is no such partition table on these machines: msdos or gpt. pykickstart does not look at the value, and "
        "mbr is a word of the boot argument inst.disklabel alone.",
        "el7 and later",
        "blivet formats/disklabel.py: get_platform_label_types; anaconda modules/storage/initialization.py",
    ),
    "NLK026": Code(True, "An msdos partition table ends at 2 TiB.", _ALL, "its 32-bit sector numbers"),
    "NLK027": Code(True, "UEFI machines start from an EFI system partition: /boot/efi.", _ALL, "anaconda platform.py"),
    "NLK028": Code(
        True,
        "An EFI system partition on an array must be RAID1, of format efi, at /boot/efi: only there does the "
        "installer choose metadata 1.0, which the firmware can overlook.",
        "el7 and later",
        "anaconda platform.py; blivet MDRaidArrayDevice.pre_commit_fixup",
    ),
    "NLK029": Code(
        True,
        "The installer of release 6 puts /boot/efi on a plain partition only.",
        "el6",
        "anaconda rhel6-branch platform.py",
    ),
    "NLK030": Code(
        True, "An array has a member that no `part` line makes.", _ALL, "anaconda: Tried to use undefined partition"
    ),
    "NLK031": Code(
        True, "Two lines make a member or a volume of the same name.", _ALL, "pykickstart raid, part, logvol"
    ),
    "NLK032": Code(True, "A member is in two arrays, or twice in one.", _ALL, "md"),
    "NLK033": Code(
        False, "A RAID member is made and used by no array: that space is lost.", _ALL, "read from the file"
    ),
    "NLK034": Code(True, "The array has fewer members than its level needs.", _ALL, "md, blivet raid levels"),
    "NLK035": Code(
        False,
        "RAID10 over an odd number of disks works, and spreads copies so that half a disk is lost to rounding; "
        "the documented layout is even.",
        _ALL,
        "md(4)",
    ),
    "NLK036": Code(
        True,
        "/boot can be on RAID1 only: the boot loader reads one member as if it were a plain partition.",
        _ALL,
        "anaconda rhel6-branch platform.py; main: stage2_raid_levels",
    ),
    "NLK037": Code(
        True,
        "Boot loaders of these releases do not read /boot from a logical volume.",
        _ALL,
        "anaconda: stage2 device types",
    ),
    "NLK038": Code(True, "Two members of one array are on one disk: its loss takes both.", _ALL, "md"),
    "NLK039": Code(
        False,
        "A physical volume's --fstype is ignored: its name begins with pv., which decides.",
        _ALL,
        "anaconda kickstart.py, custom_partitioning.py",
    ),
    "NLK040": Code(
        True, "Arrays of release 6 are called mdN.", "el6", "anaconda rhel6-branch: invalid literal for int()"
    ),
    "NLK041": Code(
        False, "The members of an array differ in logical sector size: the array takes the larger one.", _ALL, "md"
    ),
    "NLK042": Code(
        True, "No BIOS starts from a disk with sectors of 4096 bytes; UEFI does.", _ALL, "int 13h: 512 bytes"
    ),
    "NLK043": Code(
        True,
        "--noformat and --useexisting keep a partition that is there, and --onpart says which one. pykickstart does "
        "not ask for it.",
        _ALL,
        "anaconda kickstart.py, custom_partitioning.py",
    ),
    "NLK044": Code(
        True, "Enterprise Linux took btrfs out with release 8.", "el8, el9, el10", "pykickstart handlers, raid and part"
    ),
    "NLK050": Code(True, "A volume group uses a physical volume that no line makes.", _ALL, "anaconda kickstart.py"),
    "NLK051": Code(True, "A logical volume is in a volume group that no line makes.", _ALL, "anaconda kickstart.py"),
    "NLK052": Code(False, "A physical volume is in no volume group.", _ALL, "read from the file"),
    "NLK053": Code(True, "Extents are powers of two, from 1 KiB.", _ALL, "blivet get_supported_pe_sizes"),
    "NLK054": Code(True, "Nothing is mounted at /.", _ALL, "anaconda storage checker"),
    "NLK055": Code(
        False,
        "/boot is smaller than the installer likes: it warns, and a kernel update may not fit.",
        _ALL,
        "anaconda storage/checker: min_partition_sizes",
    ),
    "NLK056": Code(
        False, "/boot/efi is smaller than the installer likes.", _ALL, "anaconda storage/checker: min_partition_sizes"
    ),
    "NLK057": Code(
        True, "/ is on a logical volume and there is no /boot beside it.", _ALL, "anaconda: stage2 device types"
    ),
    "NLK060": Code(True, "A partition is on a disk that clearpart or ignoredisk leave out.", _ALL, "anaconda storage"),
    "NLK061": Code(
        True,
        "Disks are neither cleared nor initialised: a new disk makes the installer ask.",
        _ALL,
        "anaconda: zerombr, clearpart --initlabel",
    ),
    "NLK062": Code(True, "The machine has no such disk under this bus and firmware.", _ALL, "the lab file"),
    "NLK063": Code(True, "The partitions of a disk are larger than the disk.", _ALL, "the lab file"),
    "NLK064": Code(
        True,
        "Names such as sda are given in the order in which disks answer, which differs from one start to the next, "
        "where controllers are of several kinds, and from release 9 on one controller as well: they are good for all "
        "of the disks, not for some.",
        _ALL,
        "Linux 5.3, commit f049cf1a7b67; Red Hat's solution 3962551; seen with four disks on one controller",
    ),
    "NLK070": Code(
        True, "Without this line the installer stops at a screen.", _ALL, "anaconda: spokes that are mandatory"
    ),
    "NLK071": Code(
        False, "A machine that starts from its medium first installs itself again after `reboot`.", _ALL, "boot order"
    ),
    "NLK072": Code(True, "A password stands in clear in the kickstart.", _ALL, "pykickstart rootpw, user"),
    "NLK073": Code(
        True,
        "Root is locked and no user of group wheel can log in: the root password screen is mandatory then.",
        "el7 and later",
        "anaconda modules/users: check_admin_user_exists, root_password_is_set",
    ),
    "NLK074": Code(False, "Its ssh server is too old for this kind of key.", "el6", "OpenSSH 5.3"),
    "NLK075": Code(True, "The release does not know this kind of password hash.", "el6, el7", "crypt(3) of glibc"),
    "NLK080": Code(True, "The machine has no such network card.", _ALL, "the lab file"),
    "NLK081": Code(True, "A static address lacks ip or netmask.", _ALL, "pykickstart network; anaconda network"),
    "NLK082": Code(True, "The gateway is not in the network of the address.", _ALL, "IP"),
    "NLK083": Code(True, "A card is below two devices.", _ALL, "Linux"),
    "NLK084": Code(True, "A VLAN is 1 to 4094.", _ALL, "IEEE 802.1Q"),
    "NLK085": Code(False, "The host gets no name of its own.", _ALL, "anaconda network"),
    "NLK086": Code(
        True,
        "Cards under bonds and bridges are named by device: a hardware address is not looked up there.",
        _ALL,
        "anaconda modules/network/nm_client.py",
    ),
    "NLK090": Code(
        True,
        "Installer arguments without the prefix inst. are gone: they are passed over without a word.",
        "el9 and later",
        "anaconda dracut: check_removed_no_inst_arg",
    ),
    "NLK091": Code(
        True, "The loader of release 6 knows no argument with inst. before it.", "el6", "anaconda rhel6-branch loader.c"
    ),
    "NLK092": Code(
        False,
        "The last console= is the one that programs write to: with tty0 there, a serial log stays empty.",
        _ALL,
        "Linux: serial-console",
    ),
    "NLK093": Code(True, "Nothing tells the installer where its kickstart is.", _ALL, "anaconda dracut, loader"),
    "NLK100": Code(
        True,
        "Enterprise Linux 9 and 10 build their kernels without sym53c8xx, the driver of the LSI Logic SCSI controller.",
        "el9, el10",
        "redhat/configs/rhel of the kernel's source: CONFIG_SCSI_SYM53C8XX_2 is not set (Fedora builds it)",
    ),
}
