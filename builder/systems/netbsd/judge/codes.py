"""The codes of findings about NetBSD's files, with what `nestlab explain` tells about each."""

from __future__ import annotations

from collections.abc import Mapping

from builder.systems.code import Code

_TEN = "10"
_ALL = "all"
_PARSER = "sys/lib/libsa/bootcfg.c 1.5.8.1"
_MENU = "sys/arch/i386/stand/lib/bootmenu.c 1.20"
_DOM0 = "sys/arch/amd64/conf/XEN3_DOM0 1.197.4.3"
_HOWTO = "NetBSD wiki, ports/xen/howto"
_MEDIUM = "distrib/amd64/cdroms: etc.rc, etc.ttys, install.sh"

_BOOT_CFG: Mapping[str, Code] = {
    "NLN001": Code(True, "The loader does not read a boot.cfg of more than 32768 bytes.", _ALL, _MENU),
    "NLN002": Code(
        True, "A command is copied into 80 bytes without a look at its length: 79 are the most.", _ALL, _MENU
    ),
    "NLN003": Code(True, "A # cuts its line off wherever it stands, also within an entry.", _ALL, _PARSER),
    "NLN004": Code(
        False, "Keys are compared by their first letters: this one is taken for the shorter one.", _ALL, _PARSER
    ),
    "NLN005": Code(False, "A line without = is passed over without a word.", _ALL, _PARSER),
    "NLN006": Code(
        False, "The loader knows no such key, and passes over it; rndseed works within an entry only.", _ALL, _MENU
    ),
    "NLN007": Code(True, "The menu has 20 places. What is more is dropped.", _ALL, "sys/lib/libsa/bootcfg.h"),
    "NLN008": Code(False, "There are 12 lines of banner. What is more is dropped.", _ALL, "sys/lib/libsa/bootcfg.h"),
    "NLN009": Code(True, "An entry without a colon is dropped: it is DESCRIPTION:COMMANDS.", _ALL, _PARSER),
    "NLN010": Code(
        True, "A timeout that does not begin with a digit means: wait for ever. A space counts.", _ALL, _PARSER
    ),
    "NLN011": Code(
        False, "default counts from 1; the loader takes the first or the last entry instead.", _ALL, _PARSER
    ),
    "NLN012": Code(True, "With numbers and a countdown only nine entries are kept.", _ALL, _PARSER),
    "NLN013": Code(False, "format is a, n or l.", _ALL, _PARSER),
    "NLN014": Code(
        True,
        "The loader has no such console: pc, com0 to com3, the same with kbd behind them, or auto.",
        _ALL,
        "sys/arch/i386/stand/boot/boot2.c 1.70.8.1",
    ),
    "NLN015": Code(True, "Without an entry nothing is started by itself that was configured here.", _ALL, _MENU),
    "NLN016": Code(True, "The loader has no such command.", _ALL, "sys/arch/i386/stand/boot/boot2.c 1.70.8.1"),
    "NLN017": Code(
        True, "multiboot starts the hypervisor at once: dom0's kernel must have been loaded before it.", _ALL, _HOWTO
    ),
    "NLN018": Code(
        True,
        "The argument is on the other layer's command: Xen reads what follows multiboot, dom0's kernel what follows "
        "load.",
        _ALL,
        f"{_HOWTO}; {_DOM0}",
    ),
    "NLN019": Code(True, "Xen's serial ports count from 1 (com1), those of the loader from 0 (com0).", _ALL, _HOWTO),
    "NLN020": Code(False, "The loader and Xen use different serial ports.", _ALL, _HOWTO),
    "NLN021": Code(False, "No entry starts NetBSD without Xen: nothing is left when Xen does not start.", _ALL, _HOWTO),
    "NLN022": Code(
        False,
        "Xen is on a serial port and console=pc puts dom0 on the screen: a serial log ends with Xen's.",
        _ALL,
        _HOWTO,
    ),
    "NLN023": Code(
        True,
        "An entry has no command, begins with ; or has nothing between two of them: the loader's loop may not end.",
        _ALL,
        _MENU,
    ),
    "NLN024": Code(
        True, "The PAE kernels are those of 32-bit hosts. On amd64 dom0's kernel is netbsd-XEN3_DOM0.", _ALL, _DOM0
    ),
}

_FILES: Mapping[str, Code] = {
    "NLN030": Code(True, "rc.conf is read by sh: every line is NAME=value or a comment.", _ALL, "rc.conf(5)"),
    "NLN031": Code(True, "A value would be expanded, or run, by the shell that reads it.", _ALL, "rc.conf(5), sh(1)"),
    "NLN032": Code(True, "Without rc_configured=YES the host stops in single-user mode.", _ALL, "etc/rc, rc.conf(5)"),
    "NLN033": Code(True, "Without xencommons=YES nothing starts xenstored, and xl works on nothing.", _ALL, _HOWTO),
    "NLN034": Code(False, "Nothing reads this setting any more.", _ALL, "sysutils/xentools418: RCD_SCRIPTS"),
    "NLN035": Code(True, "npf is switched on and there is no /etc/npf.conf.", _ALL, "etc/rc.d/npf"),
    "NLN036": Code(False, "Nobody can log in over the network: sshd is not on.", _ALL, "rc.conf(5)"),
    "NLN040": Code(
        True, "This is no line that npf understands, as far as it is written down here.", _ALL, "npf.conf(5)"
    ),
    "NLN041": Code(True, "npf.conf must hold a default group.", _ALL, "npf.conf(5)"),
    "NLN042": Code(True, "Guests are behind a translation and the host does not forward packets.", _ALL, "sysctl(7)"),
    "NLN050": Code(
        True, "A bridge is made by `create`, and passes frames after `up`.", _ALL, "ifconfig.if(5), bridge(4)"
    ),
    "NLN051": Code(False, "The bridge has no member: guests reach nobody.", _ALL, "brconfig(8)"),
    "NLN052": Code(True, "The machine has no such network card.", _ALL, "the lab file"),
    "NLN053": Code(
        True, "A bridge is called bridge0, bridge1, ...: its name says which driver makes it.", _ALL, "bridge(4)"
    ),
    "NLN060": Code(True, "RAIDframe cannot read its configuration.", _ALL, "raidctl(8)"),
    "NLN061": Code(True, "The array has another number of columns than disks.", _ALL, "raidctl(8)"),
    "NLN062": Code(
        True,
        "Boot blocks read the system from one member: that works with level 1 only.",
        _ALL,
        "sys/arch/i386/stand/bootxx/boot1.c 1.17",
    ),
    "NLN063": Code(
        True,
        "A member is a partition of a disk of its own. The kernel starts sets by itself from partitions of type RAID.",
        _ALL,
        "raidctl(8)",
    ),
    "NLN070": Code(True, "fstab has no line for /.", _ALL, "fstab(5)"),
    "NLN071": Code(True, "fstab names a disk that the machine does not have.", _ALL, "the lab file"),
    "NLN072": Code(
        True,
        "xl needs /kern: the hypervisor is reached by /kern/xen/privcmd.",
        _ALL,
        "sysutils/xentools418: PROCPATH",
    ),
    "NLN073": Code(False, "No terminal asks for a login.", _ALL, "ttys(5)"),
}

_INSTALLATION: Mapping[str, Code] = {
    "NLN080": Code(True, "The script is started as a program: its first line is #!/bin/sh.", _ALL, _MEDIUM),
    "NLN081": Code(
        True,
        "A script that exits is started again by init, and would install the host again.",
        _ALL,
        f"{_MEDIUM}: console on, al=root, lo=/install.sh",
    ),
    "NLN082": Code(True, "The script waits for somebody to type.", _ALL, "sh(1): read"),
    "NLN083": Code(
        False, "A machine that starts from its medium first installs itself again after a reboot.", _ALL, "boot order"
    ),
    "NLN084": Code(
        True,
        "NetBSD's crypt knows no $5$, $6$, $y$ or $2b$: nobody could log in with that password.",
        _TEN,
        "crypt(3): DES, MD5, blowfish as $2a$, sha1, argon2; lib/libcrypt/bcrypt.c",
    ),
    "NLN085": Code(
        True,
        "Whatever is installed, root must get a password or a lock: the one of the sets is empty.",
        _ALL,
        "etc/master.passwd of the set etc",
    ),
    "NLN090": Code(
        True,
        "A host started by UEFI is not made here: Xen by NetBSD's UEFI loader was seen nowhere.",
        _ALL,
        "sys/arch/i386/stand/efiboot has multiboot; not tried",
    ),
    "NLN091": Code(True, "dom0's kernel has no driver for virtio.", _TEN, _DOM0),
    "NLN092": Code(True, "A table of four partitions ends at 2 TiB.", _ALL, "its 32-bit sector numbers"),
    "NLN093": Code(False, "With less than 512 MiB dom0's kernel was seen not to start.", _ALL, _HOWTO),
    "NLN094": Code(
        True,
        "The boot blocks read sectors of 512 bytes.",
        _ALL,
        "sys/arch/i386/stand/lib: BIOSDISK_DEFAULT_SECSIZE",
    ),
    "NLN095": Code(
        False,
        "NetBSD's dom0 hides PCI devices (pciback.hide), and its document knows of guests that got them with Xen 3.1 "
        "alone; with later ones it was tried by nobody here.",
        _ALL,
        _HOWTO,
    ),
    "NLN096": Code(
        False,
        "NetBSD's kernels for guests have no xpci and none of the drivers behind it: a guest that is given a PCI "
        "device needs a kernel of its own, with `xpci* at xenbus?` and `pci* at xpci?`.",
        _ALL,
        _HOWTO,
    ),
}

CODES: Mapping[str, Code] = {**_BOOT_CFG, **_FILES, **_INSTALLATION}
