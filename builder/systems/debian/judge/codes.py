"""The codes of findings about the Debian installer's answers, with what `nestlab explain` tells about each."""

from __future__ import annotations

from collections.abc import Mapping

from builder.systems.code import Code

_ALL = "12, 13"
_READER = "debconf-set-selections of preseed-common 1.125"
_RECIPES = "partman-auto 162 and 177, recipes.sh"
_AUTO_RAID = "partman-auto-raid 55, auto-raidcfg and display.d"
_LAB = "the lab file"


def _code(error: bool, explanation: str, source: str, releases: str = _ALL) -> Code:
    return Code(error, explanation, releases, source)


CODES: Mapping[str, Code] = {
    "NLD001": _code(True, "A line has an owner, a question and a type; else the whole file is refused.", _READER),
    "NLD002": _code(True, "The last line ends in a backslash: it is never taken.", _READER),
    "NLD003": _code(
        False, "A # begins a comment in the first column only; elsewhere the line is taken for an answer.", _READER
    ),
    "NLD004": _code(
        False,
        "The question is not among those that are known here. The installer takes any name without a word, so a "
        "misspelt one is asked, or keeps its default.",
        "templates of the installer's components",
    ),
    "NLD005": _code(True, "There is no such type; debconf itself passes over the line.", "debconf-set-selections(1)"),
    "NLD006": _code(False, "The question has another type.", "templates of the installer's components"),
    "NLD007": _code(False, "The question is answered twice: the later answer counts.", _READER),
    "NLD008": _code(True, "The question does not take this value.", "the components' templates and scripts"),
    "NLD009": _code(
        False,
        "The owner decides who keeps the answer: d-i for the installer, the package's name for the installed system.",
        "Debian Installation Guide, B.3",
    ),
    "NLD010": _code(
        True, "The question is asked at critical priority: without an answer the installer waits.", "db_input critical"
    ),
    "NLD011": _code(
        False,
        "The question is asked where a disk is not empty: a second installation would wait.",
        "partman-base confirm_changes; partman-lvm lvm-remove.sh, partman-md md-remove.sh",
    ),
    "NLD013": _code(True, "A password stands in clear in the answers.", "user-setup 1.107"),
    "NLD014": _code(True, "A crypted password of ! counts as none, and is asked for.", "user-setup 1.107"),
    "NLD015": _code(True, "Nobody could log in.", "user-setup 1.107"),
    "NLD016": _code(False, "A machine that starts from its medium first installs itself again.", "boot order"),
    "NLD017": _code(True, "An address of one's own is used only when autoconfiguration is off.", "netcfg 1.197"),
    "NLD020": _code(True, "The recipe cannot be read to its end.", _RECIPES),
    "NLD021": _code(
        True, "What is no size becomes 2.2 PB as the least: the recipe does not fit.", _RECIPES
    ),
    "NLD022": _code(False, "Priority and upper limit are raised to the least size without a word.", _RECIPES),
    "NLD023": _code(
        True, "A word outside of braces is passed over. Braces are words: `method{ format }`, never `method{format}`.",
        _RECIPES,
    ),
    "NLD024": _code(False, "The flag is written to a file that nothing reads.", _RECIPES),
    "NLD025": _code(False, "An unknown file system becomes ext2 without a word.", _RECIPES),
    "NLD026": _code(True, "Nothing is mounted at /.", "partman-target: No root file system"),
    "NLD027": _code(True, "Two entries are mounted at one place.", "partman-target check.d"),
    "NLD028": _code(True, "The entry has no method that a component knows: its space stays unused.", "partman"),
    "NLD029": _code(True, "The entry is not formatted, or gets no file system.", "partman-basicfilesystems"),
    "NLD030": _code(
        True, "A host without swap makes the installer ask.", "partman-basicfilesystems 174, check.d: no_swap"
    ),
    "NLD031": _code(
        True, "With a volume group at least one entry must be fit for it.", "partman-auto-lvm: unusable_recipe"
    ),
    "NLD032": _code(
        True, "/boot in the volume group, or / without a /boot beside it, makes the installer ask.",
        "partman-auto-lvm: no_boot",
    ),
    "NLD033": _code(
        False, "/boot is smaller than in the installer's own recipes: a second kernel and its initrd may not fit.",
        "partman-auto recipes-amd64: 512 MB, 768 MB in 13",
    ),
    "NLD034": _code(True, "With a BIOS, GRUB needs a biosgrub partition of 1 MB on a disk with GPT.", "grub-install"),
    "NLD035": _code(True, "UEFI machines start from an EFI system partition.", "partman-efi: no_efi"),
    "NLD036": _code(True, "FAT32 needs more than 34 MB.", "partman-efi 110, check.d: too_small_efi"),
    "NLD037": _code(False, "The partition does nothing with this firmware and partition table.", "GRUB, UEFI"),
    "NLD038": _code(
        True, "A recipe that does not fit is passed over, and the installer takes one of its own.",
        f"{_RECIPES}: too small for expert recipe",
    ),
    "NLD039": _code(
        False, "With `max` the last volume gets all that is left: there is no room for guests' volumes.",
        "partman-auto-lvm, perform_recipe_by_lvm",
    ),
    "NLD040": _code(
        True, "The volumes do not fit in what they may take of the group: the installer asks, again and again.",
        "partman-auto-lvm, perform_recipe_by_lvm: small_guided_size",
    ),
    "NLD041": _code(True, "An msdos partition table has four primary partitions.", "its four entries"),
    "NLD042": _code(True, "Arrays are made of partitions, and nothing says which.", _AUTO_RAID),
    "NLD043": _code(
        True, "With method raid an entry for a volume is also made as a partition, unless it is $defaultignore{ }.",
        f"{_RECIPES}; {_AUTO_RAID}",
    ),
    "NLD044": _code(
        True, "The host does not fit: no room for its packages in /, or for one kernel with its initrd in /boot.",
        "measured: Debian 13 with Xen, as it was installed",
    ),
    "NLD050": _code(True, "The machine has no such disk under this bus and firmware.", _LAB),
    "NLD051": _code(True, "partman-auto/disk names whole disks, by paths below /dev.", "partman-auto, initial_auto"),
    "NLD052": _code(False, "Method regular takes the first of the disks.", "partman-auto, initial_auto"),
    "NLD053": _code(
        False, "The boot loader goes to the disk that GRUB lists first: perhaps the medium.", "grub-installer 1.212"
    ),
    "NLD054": _code(True, "The boot loader goes to a whole disk that holds the host.", "grub-installer 1.212"),
    "NLD055": _code(False, "A disk of an array without a boot loader cannot start the host alone.", "md, GRUB"),
    "NLD056": _code(True, "A BIOS reads sectors of 512 bytes only.", "INT 13h; SeaBIOS"),
    "NLD057": _code(False, "The disks differ in logical sector size: an array takes the larger one.", "md"),
    "NLD058": _code(
        True, "Disks over 2 TiB get GPT even when msdos is asked for: partitions are missing or numbered otherwise.",
        "partman-partitioning 159, disk-label.sh",
    ),
    "NLD059": _code(True, "The machine has no such network card: the installer would look for it in vain.", _LAB),
    "NLD060": _code(True, "Method raid ends at once without arrays.", _AUTO_RAID),
    "NLD061": _code(False, "Arrays are passed over with another method.", _AUTO_RAID),
    "NLD062": _code(True, "An array's description has six fields at least.", _AUTO_RAID),
    "NLD063": _code(
        True, "The description of arrays is cut at every dot, also in the name of a disk.", f"{_AUTO_RAID}: sed"
    ),
    "NLD064": _code(True, "There is no such RAID level.", "mdadm"),
    "NLD065": _code(True, "The array has fewer devices than its level needs.", f"{_AUTO_RAID}: notenoughparts"),
    "NLD066": _code(True, "An array with fewer members than devices starts degraded.", f"{_AUTO_RAID}: missing"),
    "NLD067": _code(True, "A partition is in two arrays, or twice in one.", "md"),
    "NLD068": _code(True, "A member is on a disk that partman-auto/disk does not name.", _AUTO_RAID),
    "NLD069": _code(
        True, "By the recipe the partition of that number is none for RAID.", f"{_AUTO_RAID}; {_RECIPES}"
    ),
    "NLD070": _code(False, "A RAID partition is made and used by no array: that space is lost.", "read from the file"),
    "NLD071": _code(
        False, "/boot on RAID1 can be read from each disk alone; on other levels GRUB needs most of them.", "GRUB, md"
    ),
    "NLD072": _code(True, "Two members of one array are on one disk: its loss takes both.", "md"),
    "NLD073": _code(
        True,
        "Names such as sda are given in the order in which disks answer, which differs from one start to the next, on "
        "one controller as well: they are good for all of the disks, not for some.",
        "Linux 5.3, commit f049cf1a7b67; seen with four disks on one controller",
    ),
    "NLD080": _code(True, "The command is given to sh -c as it stands: an open quote ends it.", "preseed_command"),
    "NLD081": _code(
        False, "Long commands in one line are quoted twice and checked by nothing.", "Debian Installation Guide, B.5.1"
    ),
    "NLD082": _code(True, "The installer has busybox: no bash, no perl, no python.", "debian-installer initrd"),
    "NLD083": _code(False, "What late_command writes outside of /target is gone afterwards.", "finish-install"),
    "NLD084": _code(True, "A script that runs in the new system names its interpreter in the first line.", "execve(2)"),
    "NLD085": _code(True, "A shell takes the carriage return for part of each command.", "sh"),
    "NLD090": _code(
        True, "Without auto=true language and keyboard are asked before the network is there.",
        "auto-install, S60auto-install",
    ),
    "NLD091": _code(True, "Below critical priority the installer asks more than these answers hold.", "debconf"),
    "NLD092": _code(
        False, "The installer speaks on the last console=: with tty0 there, a serial log stays empty.", "rootskel"
    ),
    "NLD093": _code(True, "What the network needs must be known before answers come over it.", "network-preseed 1.125"),
    "NLD094": _code(
        False,
        "Arguments before --- are the installer's own. Cards that it calls eth0 have other names in the host, and its "
        "network configuration names cards that are not there.",
        "user-params; seen in an installation of Debian 13",
    ),
}  # fmt: skip
