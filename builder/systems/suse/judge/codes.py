"""The codes of findings about SUSE's answers, with what `nestlab explain` tells about each."""

from __future__ import annotations

from collections.abc import Mapping

from builder.systems.code import Code
from builder.systems.suse.judge.codes_agama import AGAMA_CODES
from builder.systems.suse.judge.codes_storage import STORAGE_CODES

_YAST = "15.6, sles15"
_ALL = "all"
_AY = "yast-autoinstallation e94d61ec"
_NET = "yast-network 79966f88"

CODES: Mapping[str, Code] = {
    "NLS001": Code(True, "The profile is no XML: an element is left open, or an & stands bare.", _YAST, "XML 1.0"),
    "NLS002": Code(
        True,
        "The root of a profile is <profile> in YaST's namespace; any other is refused.",
        _YAST,
        f"{_AY} xml_checks.rb",
    ),
    "NLS003": Code(
        True,
        "YaST has no such element there. Its schema tells so on a screen, and then the element is passed over.",
        _YAST,
        f"{_AY} src/autoyast-rnc",
    ),
    "NLS004": Code(
        True,
        "An element's type is given by config:type, type or t. Without one it is a string, and the string 'false' is "
        "as good as true; a list without it is read as a map. Some truths are strings and must have none: secure_boot, "
        "update_nvram and boot_mbr are compared with 'true'.",
        _YAST,
        f"{_AY} common.rnc; yast-bootloader 66a70700 autoyast_converter.rb",
    ),
    "NLS005": Code(
        True, "The value is not of its type, or is none of the words that are known.", _YAST, f"{_AY} common.rnc"
    ),
    "NLS006": Code(
        True,
        "Text stands beside elements, in one that is neither marked as a map nor as a list: YaST reads no further.",
        _YAST,
        "yast-yast2 a393fc9e0 library/xml/src/modules/XML.rb, detect_type",
    ),
    "NLS010": Code(
        True,
        "confirm is true when nothing is said: the installer stops at its summary.",
        _YAST,
        f"{_AY} AutoinstGeneral.rb",
    ),
    "NLS011": Code(True, "A licence is shown, and waits to be agreed to.", _YAST, f"{_AY} inst_autosetup.rb"),
    "NLS012": Code(
        True,
        "A message that is shown without a time-out stays until somebody presses a key.",
        _YAST,
        f"{_AY} reporting.rnc",
    ),
    "NLS013": Code(True, "The profile itself asks questions.", _YAST, f"{_AY} ask/runner.rb"),
    "NLS014": Code(
        True,
        "What is not said about keys of more repositories is asked on a screen. true and false both answer it.",
        _YAST,
        f"{_AY} AutoinstGeneral.rb, SetSignatureHandling",
    ),
    "NLS015": Code(True, "A script with feedback shows its output in a window.", _YAST, f"{_AY} script.rb"),
    "NLS016": Code(
        True,
        "Two scripts of one name are one file: the installer tells so, and one is written over the other.",
        _YAST,
        f"{_AY} AutoinstScripts.rb",
    ),
    "NLS017": Code(
        False,
        "At the end the machine starts again. Where the medium comes first, it is installed again, and again.",
        _ALL,
        f"{_AY} AutoinstGeneral.rb, mode halt; agama d2870eef agama-autoinstall/src/main.rs, inst.finish",
    ),
    "NLS018": Code(
        True, "It belongs to the second stage, which the profile leaves out.", _YAST, f"{_AY} autosetup_helpers.rb"
    ),
    "NLS019": Code(
        True,
        "Media hold several products. Without a name it stops: 'None or wrong base product has been defined'.",
        _YAST,
        f"{_AY} inst_autoinit.rb",
    ),
    "NLS020": Code(
        True, "A password is given as a crypt hash, with encrypted true.", _ALL, "yast-users d3b80a85 reader.rb"
    ),
    "NLS021": Code(
        False,
        "No account of the profile has a password or a key, and no script gives one.",
        _YAST,
        "yast-users",
    ),
    "NLS022": Code(
        True,
        "groups of a user are in the schema, and read by nothing any more; userlist of a group is read.",
        _YAST,
        "yast-users d3b80a85 src/lib/y2users/autoinst/reader.rb, read_users and read_groups",
    ),
    "NLS023": Code(
        True,
        "init-scripts are run by a service of the package autoyast2-installation, which YaST adds for a second "
        "stage alone. Without both, the scripts lie there and nothing runs them.",
        _YAST,
        f"{_AY} Profile.rb, softwareCompat; autoinst_scripts2_finish.rb; package/autoyast2.spec",
    ),
    "NLS030": Code(
        True,
        "The word is the hypervisor's and stands on dom0's line. The names invite it: xen_kernel_append is the "
        "hypervisor's, xen_append is that of dom0's kernel under Xen.",
        _YAST,
        "yast-bootloader 66a70700 autoyast_converter.rb, DEFAULT_KERNEL_PARAMS_MAPPING",
    ),
    "NLS031": Code(
        True,
        "The word is Linux's and stands on the hypervisor's line, xen_kernel_append; dom0's is xen_append.",
        _YAST,
        "yast-bootloader 66a70700 autoyast_converter.rb, DEFAULT_KERNEL_PARAMS_MAPPING",
    ),
    "NLS032": Code(
        True,
        "Under Xen the serial port is the hypervisor's, and dom0's console is hvc0.",
        _YAST,
        "yast-bootloader 66a70700 serial_console.rb, xen_kernel_args",
    ),
    "NLS033": Code(
        True,
        "A space inside of console= cuts the speed off: it becomes an argument of its own. README.SUSE prints it so.",
        _ALL,
        "README.SUSE of the package xen: console=ttyS0, 115200",
    ),
    "NLS034": Code(
        False,
        "Without dom0_mem and its max, dom0 has all memory, and gives it away and takes it back as guests come and go.",
        _YAST,
        "README.SUSE of the package xen, Dom0 Memory Ballooning",
    ),
    "NLS035": Code(
        True, "Neither the pattern xen_server nor the packages xen and xen-tools are named.", _YAST, "patterns-server"
    ),
    "NLS036": Code(
        False,
        "autoballoon lets xl take memory from dom0 to start a guest, although dom0_mem fixed it.",
        _YAST,
        "xl.conf(5); README.SUSE of the package xen",
    ),
    "NLS037": Code(
        True,
        "grub2 is for BIOS and grub2-efi for UEFI; default takes the one that suits.",
        _YAST,
        "yast-bootloader 66a70700 bootloader_factory.rb",
    ),
    "NLS038": Code(
        False,
        "xencommons starts xenstore and the console daemon. A preset may enable it; the profile says nothing.",
        _YAST,
        "README.SUSE of the package xen; tools/hotplug/Linux/systemd",
    ),
    "NLS039": Code(
        False,
        "A guest's card without mac= has another address at each start, and its network's names and leases with it. "
        "00:16:3e is Xen's own range.",
        _YAST,
        "README.SUSE of the package xen, Network Troubleshooting",
    ),
    "NLS040": Code(
        False,
        "A name that old documents have, and that nothing reads any more.",
        _YAST,
        "README.SUSE of the package xen",
    ),
    "NLS041": Code(
        False,
        "The unit that sets the time-out of libxl's disk scripts is written, and nothing starts it.",
        _YAST,
        "README.SUSE of the package xen, Adjusting LIBXL_HOTPLUG_TIMEOUT at runtime",
    ),
    "NLS042": Code(
        False,
        "A file without contents is passed over. A path that ends with a slash is a folder, and is made.",
        _YAST,
        f"{_AY} AutoinstFile.rb, Write",
    ),
    "NLS043": Code(
        False,
        "dom0 has less memory than the distribution is meant to have without Xen: 1 GiB. It may run out of it before "
        "any guest does.",
        _ALL,
        "README.SUSE of the package xen, Dom0 Memory Ballooning; SLES 15, Deployment Guide, x86_64",
    ),
    **STORAGE_CODES,
    "NLS080": Code(True, "The machine has no card of that name.", _ALL, f"{_NET} autoinst/interfaces_reader.rb"),
    "NLS081": Code(
        True, "A static interface needs an address and its prefix or mask.", _YAST, f"{_NET} interfaces_reader.rb"
    ),
    "NLS082": Code(True, "A gateway is a neighbour: it is in the network of its interface.", _YAST, "ip-route(8)"),
    "NLS083": Code(
        True,
        "What is below a bridge or a bond is below that one only, and has no address of its own.",
        _ALL,
        "ip-link(8)",
    ),
    "NLS084": Code(
        True, "A tagged interface has a number from 1 to 4094, and stands on an interface.", _ALL, "IEEE 802.1Q"
    ),
    "NLS085": Code(
        False,
        "lladdr becomes wicked's LLADDR, which gives the card that address. It does not look for one.",
        _YAST,
        f"{_NET} interfaces_reader.rb; ifcfg(5)",
    ),
    "NLS086": Code(
        False, "Without a name in <dns> the host gets one that DHCP has, or none.", _YAST, f"{_NET} dns_reader.rb"
    ),
    "NLS087": Code(True, "Linux has 15 characters for an interface's name.", _YAST, "linux/if.h, IFNAMSIZ"),
    "NLS090": Code(
        False,
        "No argument names the answers. A volume called OEMDRV is looked for all the same.",
        _ALL,
        "openSUSE/linuxrc 46dd444 linuxrc_and_autoyast.md; agama d2870eef auto_loader.rs",
    ),
    "NLS091": Code(
        True,
        "linuxrc of releases 15 and Agama of releases 16 have no words in common; each passes over the other's.",
        _ALL,
        "openSUSE/linuxrc 46dd444 file.c; agama d2870eef agama-autoinstall/src/main.rs",
    ),
    "NLS092": Code(
        False, "What the installer says goes to the last console, which a lab reads on the serial port.", _ALL, "kernel"
    ),
    **AGAMA_CODES,
}
