"""What the real installers take and refuse, case by case: the list that was made by running their own parsers.

Each case changes one thing in `RIGHT`. `refused` is the class of the real parser's exception, "" when it takes the
file; `strict` are the codes of our judge where the installer takes what we do not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

RELEASES = ("8.2", "8.3", "xs8")

RIGHT = """\
<installation mode="fresh" sr-type="ext">
  <source type="url">http://mirror.example/xcp</source>
  <primary-disk guest-storage="yes">sda</primary-disk>
  <guest-disk>sdb</guest-disk>
  <admin-interface name="eth0" proto="static">
    <ipaddr>192.0.2.5</ipaddr><subnet>255.255.255.0</subnet><gateway>192.0.2.1</gateway>
  </admin-interface>
  <name-server>192.0.2.53</name-server>
  <hostname>host</hostname>
  <root-password type="hash">$6$salt$hash</root-password>
  <ntp-server>ntp.example</ntp-server>
  <timezone>Etc/UTC</timezone>
  <keymap>us</keymap>
  <network-backend>openvswitch</network-backend>
  <bootloader location="mbr"/>
  <service name="sshd" state="enabled"/>
  <script stage="filesystem-populated" type="url">file:///x</script>
</installation>
"""
UPGRADE = """\
<installation mode="upgrade">
  <source type="local"/>
  <existing-installation>sda</existing-installation>
</installation>
"""
_STATIC = "<ipaddr>192.0.2.5</ipaddr><subnet>255.255.255.0</subnet><gateway>192.0.2.1</gateway>"
_RAID = '<raid device="md127"><disk>sda</disk><disk>sdb</disk></raid>'
_PLAIN_DISKS = '<primary-disk guest-storage="yes">sda</primary-disk>\n  <guest-disk>sdb</guest-disk>'
_NTP = "<ntp-server>ntp.example</ntp-server>"


@dataclass(frozen=True)
class Case:
    """`only` are exceptions to `refused`, and `judged` to `strict`, by release."""

    name: str
    old: str
    new: str
    refused: str = ""
    strict: tuple[str, ...] = ()
    only: Mapping[str, str] = field(default_factory=dict)
    judged: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    base: str = RIGHT
    sectors: Mapping[str, int] = field(default_factory=dict)

    @property
    def text(self) -> str:
        assert self.old in self.base
        return self.base.replace(self.old, self.new, 1)

    def verdict(self, release: str) -> str:
        return self.only.get(release, self.refused)

    def codes(self, release: str) -> tuple[str, ...]:
        return self.judged.get(release, self.strict)


def _disks(new: str) -> tuple[str, str]:
    return _PLAIN_DISKS, new


_ANSWER, _UNWRAP, _ASSERT, _NO_DISK = "AnswerfileException", "XmlUnwrapError", "AssertionError", "FileNotFoundError"

CASES: tuple[Case, ...] = (
    Case("right", "", ""),
    # The file and its root
    Case("not well-formed", "</installation>", "", _ANSWER),
    Case("another root", "installation", "install", _ANSWER, base="<installation/>"),
    Case("an upgrade root without mode is fresh", "installation mode", "upgrade mode", strict=("NLX002",),
         base=RIGHT.replace("</installation>", "</upgrade>")),
    Case("case of mode", '"fresh"', '"Fresh"', _ANSWER),
    Case("mode reinstall is fresh", '"fresh"', '"reinstall"', strict=("NLX062",)),
    Case("mode left out", ' mode="fresh"', "", strict=("NLX013",)),
    Case("no kind of storage", ' sr-type="ext"', ""),
    Case("kind of storage zfs", '"ext"', '"zfs"', _UNWRAP),
    Case("kind of storage in capitals", '"ext"', '"EXT"', _UNWRAP),
    Case("kind of storage lvm", '"ext"', '"lvm"'),
    Case("kind of storage largeblock", '"ext"', '"largeblock"', _UNWRAP, only={"8.3": ""}),
    Case("alias of the kind of storage", "sr-type", "srtype", strict=("NLX004",)),
    Case("signatures of 8.2", "sr-type", 'netinstall-gpg-check="false" sr-type', strict=("NLX006",),
         judged={"8.2": ()}),
    Case("signatures of 8.3", "sr-type", 'gpgcheck="false" sr-type', judged={"8.2": ("NLX006",)}),
    Case("a truth that is none", "sr-type", 'repo-gpgcheck="1" sr-type', strict=("NLX011",),
         judged={"8.2": ("NLX006",)}),
    # How elements are found
    Case("unknown element", "<keymap>", "<key-map>de</key-map><keymap>", strict=("NLX003",)),
    Case("unknown attribute", "<keymap>", '<keymap kind="x">', strict=("NLX004",)),
    Case("a wrapper is decoration", "<guest-disk>sdb</guest-disk>",
         "<guest-disks><guest-disk>sdb</guest-disk></guest-disks>",
         strict=("NLX003", "NLX009")),
    Case("a host name below something", "<hostname>host</hostname>", "<names><hostname>host</hostname></names>",
         strict=("NLX003", "NLX009")),
    Case("two of one", "<hostname>host</hostname>", "<hostname>host</hostname><hostname>b</hostname>",
         strict=("NLX008",)),
    Case("two disks for the system", "<guest-disk>", '<primary-disk>sdc</primary-disk><guest-disk>',
         strict=("NLX008",)),
    Case("a comment inside text", "<hostname>host<", "<hostname>ho<!-- x -->st<"),
    Case("an element of older releases", "<keymap>", "<initial-partitions/><keymap>", strict=("NLX005",)),
    # Sources
    Case("no source", '<source type="url">http://mirror.example/xcp</source>', "", _UNWRAP),
    Case("a source without type", ' type="url"', "", _UNWRAP),
    Case("a source of another type", '"url"', '"cdrom"', _ANSWER),
    Case("case of the source's type", '"url"', '"URL"', _ANSWER),
    Case("local source", '<source type="url">http://mirror.example/xcp</source>', '<source type="local"/>'),
    Case("nfs as url", "http://mirror.example/xcp", "nfs://files.example/xcp"),
    Case("a path as url", "http://mirror.example/xcp", "/srv/xcp", strict=("NLX020",)),
    Case("drivers of another type", "<keymap>", '<driver-source type="cd"/><keymap>', _ANSWER),
    Case("drivers without type", "<keymap>", "<driver-source>x</driver-source><keymap>", _UNWRAP),
    # Disks
    Case("no disk", *_disks(""), _UNWRAP),
    Case("whole path", ">sda<", ">/dev/sda<"),
    Case("a disk that is not there", ">sda<", ">sdz<", _NO_DISK, only={"8.2": ""}, judged={"8.2": ("NLX030",)}),
    Case("a wrong disk without storage", *_disks('<primary-disk guest-storage="no">sdz</primary-disk>'),
         strict=("NLX030",)),
    Case("a guest disk that is not there", ">sdb<", ">sdz<", _NO_DISK, only={"8.2": ""}, judged={"8.2": ("NLX030",)}),
    Case("guest-storage 1 means no", '"yes"', '"1"', strict=("NLX011",)),
    Case("guest-storage YES", '"yes"', '"YES"'),
    Case("first partition", "guest-storage", 'preserve-first-partition="true" guest-storage'),
    Case("first partition, another word", "guest-storage", 'preserve-first-partition="maybe" guest-storage', _UNWRAP),
    Case("array and storage on it", *_disks(f"{_RAID}<primary-disk>md127</primary-disk>"), _NO_DISK, only={"8.2": ""}),
    Case("array without storage", *_disks(f'{_RAID}<primary-disk guest-storage="no">md127</primary-disk>'),
         judged={"xs8": ("NLX005",)}),
    Case("array and another disk for storage",
         *_disks(f'{_RAID}<primary-disk guest-storage="no">md127</primary-disk><guest-disk>sdc</guest-disk>'),
         judged={"xs8": ("NLX005",)}),
    Case("array of one disk",
         *_disks(f'{_RAID.replace("<disk>sdb</disk>", "")}<primary-disk guest-storage="no">md127</primary-disk>'),
         strict=("NLX033",), judged={"xs8": ("NLX005", "NLX033")}),
    Case("array without device", *_disks(f'{_RAID.replace(" device=", " name=")}{_PLAIN_DISKS}'), _UNWRAP,
         only={"xs8": ""}, judged={"xs8": ("NLX005", "NLX031", "NLX038")}),
    Case("large sectors and ext", "", "", _ANSWER, only={"8.2": "", "xs8": ""},
         judged={"8.2": ("NLX036", "NLX037"), "xs8": ("NLX036", "NLX037")}, sectors={"sdb": 4096}),
    Case("large sectors and no kind", ' sr-type="ext"', "", sectors={"sdb": 4096}, strict=("NLX036", "NLX037"),
         judged={"8.3": ("NLX037",)}),
    # The management interface
    Case("no interface", RIGHT[RIGHT.index("  <admin"): RIGHT.index("  <name-server")], "", _UNWRAP),
    Case("neither name nor address", ' name="eth0"', "", _ANSWER),
    Case("by address", 'name="eth0"', 'hwaddr="52:54:00:00:00:01"'),
    Case("by address in capitals", 'name="eth0"', 'hwaddr="52:54:00:00:00:01"'.upper().replace("HWADDR", "hwaddr")),
    Case("a card that is not there", '"eth0"', '"eth7"', strict=("NLX040",)),
    Case("an address that is not there", 'name="eth0"', 'hwaddr="52:54:00:00:00:99"', strict=("NLX040",)),
    Case("no way to an address", ' proto="static"', "", _UNWRAP),
    Case("case of the way to an address", '"static"', '"Static"', _ANSWER),
    Case("neither IPv4 nor IPv6", '"static"', '"none"', _ANSWER),
    Case("IPv6 alone", 'proto="static"', 'proto="none" protov6="autoconf"'),
    Case("IPv6 of another way", 'proto="static"', 'proto="none" protov6="slaac"', _ANSWER),
    Case("fixed IPv6 without gateway", f'proto="static">\n    {_STATIC}',
         'proto="none" protov6="static"><ipv6>fd00::5/64</ipv6>',
         _UNWRAP),
    Case("fixed IPv6", f'proto="static">\n    {_STATIC}',
         'proto="none" protov6="static"><ipv6>fd00::5/64</ipv6><gatewayv6>fd00::1</gatewayv6>'),
    Case("other names of the fields", _STATIC, _STATIC.replace("ipaddr>", "ip>").replace("subnet>", "subnet-mask>")),
    Case("no address", "<ipaddr>192.0.2.5</ipaddr>", "", _UNWRAP),
    Case("no netmask", "<subnet>255.255.255.0</subnet>", "", _UNWRAP),
    Case("no gateway", "<gateway>192.0.2.1</gateway>", "", _UNWRAP),
    Case("an empty gateway", "<gateway>192.0.2.1</gateway>", "<gateway/>"),
    Case("an empty address", "<ipaddr>192.0.2.5</ipaddr>", "<ipaddr/>", _ASSERT),
    Case("an empty netmask", "<subnet>255.255.255.0</subnet>", "<subnet/>", _ASSERT),
    Case("no address at all by its form", "192.0.2.5", "here", strict=("NLX042",)),
    Case("VLAN 4094", 'proto="static"', 'vlan="4094" proto="static"'),
    Case("VLAN 4095", 'proto="static"', 'vlan="4095" proto="static"', _ANSWER),
    Case("VLAN 0", 'proto="static"', 'vlan="0" proto="static"', _ANSWER),
    Case("VLAN in words", 'proto="static"', 'vlan="ten" proto="static"', _ANSWER),
    # The host itself
    Case("no password", '<root-password type="hash">$6$salt$hash</root-password>', "", strict=("NLX050",)),
    Case("password in clear", ' type="hash">$6$salt$hash', ">secret", strict=("NLX051",)),
    Case("password of another type", '"hash"', '"crypt"', _UNWRAP),
    Case("no host name", "<hostname>host</hostname>", "", strict=("NLX052",)),
    Case("alias of name-server", "name-server>192.0.2.53</name-server", "nameserver>192.0.2.53</nameserver"),
    Case("two name servers", "<name-server>", "<name-server>192.0.2.54</name-server><name-server>"),
    Case("no time zone", "<timezone>Etc/UTC</timezone>", ""),
    Case("time manual", "<ntp-server>", '<ntp source="manual"/><ntp-server>', judged={"8.2": ("NLX005",)}),
    Case("time manual without servers", _NTP, '<ntp source="manual"/>', strict=("NLX055",),
         judged={"8.2": ("NLX005", "NLX055")}),
    Case("time by DHCP", _NTP, '<ntp source="dhcp"/>', judged={"8.2": ("NLX005",)}),
    Case("time by DHCP with servers", "<ntp-server>", '<ntp source="dhcp"/><ntp-server>', _ANSWER, only={"8.2": ""},
         judged={"8.2": ("NLX005", "NLX054")}),
    Case("time of another source", "<ntp-server>", '<ntp source="gps"/><ntp-server>', _ANSWER, only={"8.2": ""},
         judged={"8.2": ("NLX005",)}),
    Case("time without source", _NTP, "<ntp/>", _UNWRAP, only={"8.2": ""}, judged={"8.2": ("NLX005",)}),
    Case("two sources of time", _NTP, '<ntp source="dhcp"/><ntp source="dhcp"/>', _ANSWER, only={"8.2": ""},
         judged={"8.2": ("NLX005",)}),
    Case("time of none is taken, and the installation fails later", _NTP, '<ntp source="none"/>', strict=("NLX053",),
         judged={"8.2": ("NLX005", "NLX053")}),
    Case("network of bridges", ">openvswitch<", ">bridge<"),
    Case("network by its old name", ">openvswitch<", ">vswitch<"),
    Case("another network", ">openvswitch<", ">ovs<", strict=("NLX056",)),
    Case("boot loader in a partition", '"mbr"', '"partition"'),
    Case("boot loader elsewhere", '"mbr"', '"efi"', _UNWRAP),
    Case("another boot loader", '<bootloader location="mbr"/>', "<bootloader>extlinux</bootloader>", _ANSWER),
    Case("service twice", "<script", '<service name="sshd" state="disabled"/><script', _ANSWER),
    Case("service in another state", '"enabled"', '"on"', _ANSWER),
    Case("service without state", ' state="enabled"', "", _UNWRAP),
    Case("service without name", ' name="sshd"', "", _UNWRAP),
    Case("script without stage", ' stage="filesystem-populated"', "", _UNWRAP),
    Case("script without type", ' type="url">file', ">file", _UNWRAP),
    Case("script of a misspelt stage", "filesystem-populated", "filesystem-popluated", strict=("NLX058",)),
    Case("confirmation, whatever it says", "<keymap>", "<ui-confirmation-prompt>false</ui-confirmation-prompt><keymap>",
         strict=("NLX060",)),
    Case("storage network without card", "<keymap>", "<fcoe-interface/><keymap>", _ANSWER),
    # Upgrades
    Case("upgrade", "", "", base=UPGRADE),
    Case("upgrade of nothing", "<existing-installation>sda</existing-installation>", "", _UNWRAP, base=UPGRADE),
    Case("upgrade without source", '<source type="local"/>', "", _UNWRAP, base=UPGRADE),
)  # fmt: skip
