"""The grammar of answer files, by release and mode: what is read at all, and which values count."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

RELEASES = ("8.2", "8.3", "xs8")
_NEW = ("8.3", "xs8")
FRESH, UPGRADE, RESTORE = "fresh", "upgrade", "restore"
_INSTALL = (FRESH, UPGRADE)
_ANY = (FRESH, UPGRADE, RESTORE)


@dataclass(frozen=True, slots=True)
class Attribute:
    """`values` empty: any text. `truth`: yes, true, no or false."""

    values: tuple[str, ...] = ()
    truth: bool = False
    required: bool = False
    releases: tuple[str, ...] = RELEASES
    only: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def allowed(self, release: str) -> tuple[str, ...]:
        return self.only.get(release, self.values)


@dataclass(frozen=True, slots=True)
class Element:
    """`many`: each one counts. `text`: True must, False must not, None may be there. `inside` is its parent."""

    modes: tuple[str, ...] = (FRESH,)
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    releases: tuple[str, ...] = RELEASES
    many: bool = False
    mandatory: tuple[str, ...] = ()
    text: bool | None = True
    inside: str = ""
    same_as: str = ""


_TRUTH = Attribute(truth=True)
_TRUTH_NEW = Attribute(truth=True, releases=_NEW)
_PLACE = Attribute(("local", "url", "nfs"), required=True)

ROOT: Mapping[str, Attribute] = {
    "mode": Attribute((FRESH, "reinstall", UPGRADE), required=True),
    "sr-type": Attribute(
        required=False, only={"8.2": ("ext", "lvm"), "8.3": ("ext", "lvm", "largeblock"), "xs8": ("ext", "lvm")}
    ),
    "gpgcheck": _TRUTH_NEW,
    "repo-gpgcheck": _TRUTH_NEW,
    "netinstall-gpg-check": Attribute(truth=True, releases=("8.2",)),
}

ELEMENTS: Mapping[str, Element] = {
    "source": Element(
        _INSTALL,
        {"type": _PLACE, "gpgcheck": _TRUTH_NEW, "repo-gpgcheck": _TRUTH_NEW},
        many=True,
        mandatory=_INSTALL,
        text=None,
    ),
    "driver-source": Element(_INSTALL, {"type": _PLACE}, many=True, text=None),
    "raid": Element(attributes={"device": Attribute(required=True)}, releases=("8.2", "8.3"), many=True, text=False),
    "disk": Element(many=True, inside="raid", releases=("8.2", "8.3")),
    "primary-disk": Element(
        (FRESH, UPGRADE),
        {
            "guest-storage": _TRUTH,
            "sr-at-end": _TRUTH,
            "preserve-first-partition": Attribute(("true", "yes", "false", "no", "if-utility")),
        },
        mandatory=(FRESH,),
    ),
    "guest-disk": Element(many=True),
    "existing-installation": Element((UPGRADE,), mandatory=(UPGRADE,)),
    "backup-disk": Element((RESTORE,)),
    "admin-interface": Element(
        attributes={
            "name": Attribute(),
            "hwaddr": Attribute(),
            "proto": Attribute(("static", "dhcp", "none"), required=True),
            "vlan": Attribute(),
            "protov6": Attribute(("static", "dhcp", "autoconf")),
        },
        mandatory=(FRESH,),
        text=False,
    ),
    "ip": Element(inside="admin-interface", same_as="ipaddr"),
    "ipaddr": Element(inside="admin-interface"),
    "subnet-mask": Element(inside="admin-interface", same_as="subnet"),
    "subnet": Element(inside="admin-interface"),
    "gateway": Element(inside="admin-interface", text=None),
    "ipv6": Element(inside="admin-interface"),
    "gatewayv6": Element(inside="admin-interface"),
    "root-password": Element(attributes={"type": Attribute(("plaintext", "hash"))}),
    "name-server": Element(many=True),
    "nameserver": Element(many=True),
    "hostname": Element(),
    "timezone": Element(),
    "keymap": Element(),
    "ntp": Element(
        attributes={"source": Attribute(("dhcp", "default", "manual", "none"), required=True)},
        releases=_NEW,
        text=False,
    ),
    "ntp-server": Element(many=True),
    "ntp-servers": Element(many=True),
    "network-backend": Element(_INSTALL),
    "bootloader": Element(
        _INSTALL, {"location": Attribute(("mbr", "partition")), "write-boot-entry": _TRUTH}, text=None
    ),
    "service": Element(
        attributes={"name": Attribute(required=True), "state": Attribute(("enabled", "disabled"), required=True)},
        many=True,
        text=False,
    ),
    "script": Element(
        _ANY, {"stage": Attribute(required=True), "type": Attribute(("url", "nfs"), required=True)}, many=True
    ),
    "fcoe-interface": Element(_ANY, {"name": Attribute(), "hwaddr": Attribute()}, many=True, text=False),
    "ui-confirmation-prompt": Element(_ANY),
}
# Elements of other releases: told apart from misspelt ones.
ELSEWHERE = ("initial-partitions", "zap-utility-partitions", "ssh-mode", "fs-type", "post-install-script")
