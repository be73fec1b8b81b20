"""The codes of findings about Agama profiles."""

from __future__ import annotations

from collections.abc import Mapping

from builder.systems.code import Code

_AGAMA = "16.0, sles16"
_SRC = "agama d2870eef (branch SLE-16)"

AGAMA_CODES: Mapping[str, Code] = {
    "NLS100": Code(True, "The profile is no JSON, or no mapping.", _AGAMA, f"{_SRC} profile.rs"),
    "NLS101": Code(
        True,
        "The release's schema has no such key: the whole profile is refused, or, in bootloader, the key passed over. "
        "Later releases have sshPublicKeys and ntp.",
        _AGAMA,
        f"{_SRC} rust/agama-lib/share/profile.schema.json, additionalProperties",
    ),
    "NLS102": Code(
        True,
        "A product is named by its id, which changed: Leap_16.0 on media of 16.0, openSUSE_Leap later.",
        _AGAMA,
        f"{_SRC} products.d/leap_160.yaml; agama f0b1e9c1 products.d/leap_161.yaml",
    ),
    "NLS103": Code(
        True, "A drive is searched by a name that the machine does not have.", _AGAMA, f"{_SRC} storage schema, search"
    ),
    "NLS104": Code(True, "An alias is used and nothing has it.", _AGAMA, f"{_SRC} config_checkers"),
    "NLS107": Code(
        True,
        "Without hashedPassword true a crypt hash is itself the password.",
        _AGAMA,
        f"{_SRC} profile.schema.json, root",
    ),
    "NLS108": Code(
        False,
        "Neither root nor a user has a password or a key, and no script gives one.",
        _AGAMA,
        _SRC,
    ),
    "NLS109": Code(
        True,
        "A script has a name and one source, and is run as a program: its first line says by what.",
        _AGAMA,
        f"{_SRC} scripts/model.rs, ScriptRunner",
    ),
    "NLS110": Code(
        True,
        "Agama has no word for a hypervisor: its arguments go to GRUB_CMDLINE_XEN_DEFAULT by a script inside the new "
        "system, which then runs grub2-mkconfig.",
        _AGAMA,
        f"{_SRC} profile.schema.json, bootloader; README.SUSE of the package xen",
    ),
    "NLS111": Code(
        True,
        "extraKernelParams reach Linux alone, in entries with and without Xen.",
        _AGAMA,
        f"{_SRC} bootloader_config.rb",
    ),
    "NLS112": Code(
        True,
        "Questions are put to the user unless the policy is auto.",
        _AGAMA,
        f"{_SRC} profile.schema.json, questions",
    ),
    "NLS113": Code(
        True,
        "Partitions that are there stay unless the profile deletes them: a used disk has no room.",
        _AGAMA,
        f"{_SRC} storage.schema.json, partitionToDelete",
    ),
    "NLS114": Code(
        True,
        "A port of a bridge or a bond is a connection's interface or id; without one the network is refused.",
        _AGAMA,
        f"{_SRC} agama-network/src/model.rs, set_ports",
    ),
    "NLS115": Code(
        False,
        "Nobody promises that releases 16 carry a Xen host. Agama's products offer patterns for KVM, none for Xen, and "
        "its source says that the plan is to drop Xen's support.",
        _AGAMA,
        f"{_SRC} products.d; service/lib/y2storage/proposal/agama_drive_planner.rb",
    ),
    "NLS116": Code(True, "The boot menu waits for a key.", _AGAMA, f"{_SRC} profile.schema.json, bootloader"),
    "NLS118": Code(
        True,
        "Nothing is there that the firmware could start from, and Agama is told not to add it.",
        _AGAMA,
        f"{_SRC} storage.schema.json, boot",
    ),
}
