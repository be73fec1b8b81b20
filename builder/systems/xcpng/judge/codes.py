"""The codes of findings about answer files, with what `nestlab explain` tells about each."""

from __future__ import annotations

from collections.abc import Mapping

from builder.systems.code import Code

_ALL = "all"

CODES: Mapping[str, Code] = {
    "NLX001": Code(True, "The file is not well-formed XML.", _ALL, "host-installer: AnswerfileException"),
    "NLX002": Code(
        True,
        "The root is installation or restore. An `upgrade` root without mode is read as a fresh installation.",
        _ALL,
        "host-installer, tried with its parser",
    ),
    "NLX003": Code(
        True,
        "The installer passes over an element that it does not know, without a word.",
        _ALL,
        "host-installer, tried with its parser",
    ),
    "NLX004": Code(
        True,
        "The installer passes over an attribute that it does not know.",
        _ALL,
        "host-installer, tried with its parser",
    ),
    "NLX005": Code(
        True,
        "The element belongs to another release, and is passed over by this one.",
        _ALL,
        "host-installer, tried with its parser",
    ),
    "NLX006": Code(
        True,
        "The attribute belongs to another release, and is passed over by this one.",
        _ALL,
        "host-installer, tried with its parser",
    ),
    "NLX007": Code(True, "The element is not read in this mode.", _ALL, "host-installer parseUpgrade, parseRestore"),
    "NLX008": Code(
        True,
        "Where one element is expected the first one counts, and the others do not.",
        _ALL,
        "host-installer, tried with its parser",
    ),
    "NLX009": Code(
        False,
        "Elements are found wherever they stand below the root: a wrapper around them means nothing.",
        _ALL,
        "python-libs xcp/xmlunwrap.py, tried with its parser",
    ),
    "NLX010": Code(True, "The element is mandatory in this mode.", _ALL, "host-installer: XmlUnwrapError"),
    "NLX011": Code(
        True,
        "Only yes and true mean yes; every other word, such as 1 or on, means no.",
        _ALL,
        "host-installer, tried with its parser",
    ),
    "NLX012": Code(
        True,
        "The attribute has no such value. Case counts.",
        _ALL,
        "host-installer: XmlUnwrapError, tried with its parser",
    ),
    "NLX013": Code(True, "The attribute is mandatory.", _ALL, "host-installer: XmlUnwrapError"),
    "NLX014": Code(
        True, "The element has no text where some is expected, or text where none is read.", _ALL, "host-installer"
    ),
    "NLX020": Code(True, "The address does not fit the type of the source.", _ALL, "host-installer parseSource"),
    "NLX030": Code(
        True,
        "The machine has no such disk under this bus and firmware. The installer tells it as 'No such file'.",
        _ALL,
        "host-installer parseDisks, tried with its parser",
    ),
    "NLX031": Code(True, "A disk is used twice.", _ALL, "host-installer parseDisks"),
    "NLX032": Code(
        True,
        "With guest-storage on the array, the installer looks at the array's block size before it has made the array.",
        "8.3",
        "host-installer parseDisks and diskutil, tried with its parser; the vendor's own RAID example is caught by it",
    ),
    "NLX033": Code(
        True,
        "The array has fewer than two disks; the installer does not count them.",
        _ALL,
        "host-installer parseRaid, tried with its parser",
    ),
    "NLX034": Code(
        True, "The system disk has less than 46 GiB.", _ALL, "host-installer: refused when it is partitioned"
    ),
    "NLX035": Code(
        True,
        "The system cannot be on a disk with logical sectors of 4096 bytes.",
        _ALL,
        "host-installer; XCP-ng docs, storage",
    ),
    "NLX036": Code(
        True,
        "ext and lvm repositories cannot be on disks with sectors of 4096 bytes; largeblock, which 8.3 has, can.",
        _ALL,
        "host-installer parseDisks, tried with its parser",
    ),
    "NLX037": Code(False, "The disks of the local storage differ in logical sector size.", _ALL, "lvm"),
    "NLX038": Code(False, "An array is made, and the system goes elsewhere.", _ALL, "read from the file"),
    "NLX039": Code(
        True,
        "Disks on controllers of two kinds are all called sda, sdb, ..., in an order that depends on which of them "
        "answers first.",
        _ALL,
        "Linux 4.19 of the installer and of dom0: each driver looks for its own disks",
    ),
    "NLX040": Code(
        True,
        "The machine has no such network card. The installer takes the name, and the host comes up unmanaged.",
        _ALL,
        "host-installer parseInterface, tried with its parser",
    ),
    "NLX041": Code(
        True,
        "A static address needs ip, netmask and gateway, all three.",
        _ALL,
        "host-installer: AssertionError, tried with its parser",
    ),
    "NLX042": Code(
        True,
        "This is no address; the installer does not look at its form.",
        _ALL,
        "host-installer, tried with its parser",
    ),
    "NLX043": Code(True, "The gateway is not in the network of the address.", _ALL, "IP"),
    "NLX044": Code(True, "A VLAN is 1 to 4094.", _ALL, "host-installer, netutil"),
    "NLX045": Code(True, "Without IPv4 and IPv6 the host cannot be managed.", _ALL, "host-installer parseInterface"),
    "NLX050": Code(
        True,
        "Without a root password, or with the hash !!, the first boot stops and asks for one.",
        _ALL,
        "host-installer, constants",
    ),
    "NLX051": Code(True, "The root password stands in clear.", _ALL, "host-installer parseRootPassword"),
    "NLX052": Code(
        False, "Without a host name the host is called localhost, or as DHCP says.", _ALL, "host-installer, backend.py"
    ),
    "NLX053": Code(
        True,
        "ntp source none makes the installer set a time that nobody gave, and it fails.",
        "8.3, xs8",
        "backend.py setTimeManually",
    ),
    "NLX054": Code(
        True,
        "Time servers go with the source manual only.",
        "8.3, xs8",
        "host-installer parseTimeConfig, tried with its parser",
    ),
    "NLX055": Code(
        False,
        "The source manual without a server leaves the clock alone.",
        "8.3, xs8",
        "host-installer, tried with its parser",
    ),
    "NLX056": Code(
        True,
        "The installer passes over a network backend that it does not know.",
        _ALL,
        "host-installer, tried with its parser",
    ),
    "NLX057": Code(True, "A service is named twice.", _ALL, "host-installer parseServices, tried with its parser"),
    "NLX058": Code(
        True,
        "The installer keeps a script of an unknown stage and never runs it.",
        _ALL,
        "host-installer, tried with its parser",
    ),
    "NLX059": Code(
        True,
        "The first line of a script names /bin/sh, /bin/bash, /usr/bin/python or /usr/bin/env python.",
        _ALL,
        "host-installer scripts.py",
    ),
    "NLX060": Code(
        True,
        "Any text in ui-confirmation-prompt, even false, makes the installer ask.",
        _ALL,
        "host-installer, tried with its parser",
    ),
    "NLX061": Code(True, "There is no boot loader but grub2.", _ALL, "host-installer parseCommon"),
    "NLX062": Code(
        False,
        "mode reinstall is told as fresh with a backup, and makes no backup.",
        _ALL,
        "backend.py: the backup is a step of upgrades only",
    ),
    "NLX070": Code(True, "Nothing tells the installer where its answers are.", _ALL, "init"),
    "NLX071": Code(True, "Without the word install this release drops the answer file and asks.", "8.2", "init"),
    "NLX072": Code(
        False,
        "The installer runs on the last console=. The usual order ends with tty0, and a serial log stays empty.",
        _ALL,
        "startup/preinit, init",
    ),
    "NLX073": Code(True, "Answer files come by http, https, ftp, nfs or file.", _ALL, "util.py fetchFile"),
    "NLX074": Code(
        True, "Together with an answer file this makes the installer stop.", _ALL, "install.py: RuntimeError"
    ),
    "NLX075": Code(
        False, "network_device=all tries each card by DHCP, one after the other, for minutes each.", _ALL, "xcp#494"
    ),
    "NLX076": Code(
        False,
        "A machine that starts from its medium first installs itself again: reboot is done on failure, too.",
        _ALL,
        "init: atexit",
    ),
    "NLX077": Code(
        True,
        "Something is to be fetched over the network, and with an answer file in the RAM disk no card is brought up.",
        _ALL,
        "init: only network_device does that",
    ),
    "NLX078": Code(
        True, "The argument stands on the other layer's line, where nobody reads it.", _ALL, "doc/parameters.txt"
    ),
    "NLX079": Code(
        False, "netdevice is no argument of the installer; map_netdev and network_device are.", _ALL, "init"
    ),
    "NLX080": Code(False, "dom0 has less memory than the document says.", _ALL, "XCP-ng docs, guides, Dom0 memory"),
    "NLX081": Code(
        False,
        "For hosts between 64 and 128 GiB the document states no size for dom0.",
        _ALL,
        "XCP-ng docs, guides, Dom0 memory",
    ),
    "NLX082": Code(
        False,
        "Nested under KVM, BIOS is advised: with UEFI the host installs, and may not start.",
        _ALL,
        "XCP-ng docs, XCP-ng in a VM",
    ),
    "NLX083": Code(True, "dom0's kernel has no driver for virtio.", _ALL, "XCP-ng docs, XCP-ng in a VM"),
    "NLX084": Code(
        True,
        "A fixed address is given to the one card that network_device= names; without one, or with all, DHCP is asked.",
        _ALL,
        "doc/parameters.txt: network_config",
    ),
    "NLX085": Code(
        False,
        "An answer file gives an address to one card, the management interface's: those of other cards of the node are "
        "set on the running host.",
        _ALL,
        "host-installer parseInterface: admin-interface",
    ),
}
