"""What else is decided for a host that the Debian installer installs: how the answers get there, two boots, what is
refused, and hostile text in every field."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from builder.errors import LabError
from builder.model.lab import ImageSource, RaidArray
from builder.model.plan import SystemPlan
from builder.model.units import GIB
from builder.paths import data_dir
from builder.systems.debian.explained import DEAD
from builder.systems.debian.options import DebianInstall
from builder.systems.debian.system import Debian
from tests.support.debian import CASES, HASH, KEY, RELEASES, Case, debconf, install_node, text_file
from tests.support.nodes import MANAGEMENT_MAC, disk, xen


def plan(release: str = "13", **changes: Any) -> SystemPlan:
    return Debian().plan(install_node(release, **changes))


def arguments(made: SystemPlan) -> tuple[str, ...]:
    (edit,) = made.media_edits
    assert (edit.kind, edit.layer) == ("arguments", "kernel")
    return edit.arguments


@pytest.mark.parametrize("release", RELEASES)
def test_the_answers_get_to_the_installer(release: str) -> None:
    initrd, iso, url = (CASES[f"{release}-{name}"] for name in ("bios-lvm", "iso", "url"))
    assert {answer.delivery for answer in initrd.plan.answers} == {"initrd"}
    assert arguments(initrd.plan) == (
        "auto=true", "priority=critical", "DEBIAN_FRONTEND=text", "TERM=dumb", "DEBCONF_DROP_TRANSLATIONS=1",
        "mitigations=off", "console=ttyS0,115200n8",
    )  # fmt: skip
    assert {answer.delivery for answer in iso.plan.answers} == {"iso"}
    assert "file=/cdrom/preseed.cfg" in arguments(iso.plan)
    assert iso.values["preseed/late_command"] == "sh /cdrom/nestlab/late.sh"
    assert "base=/cdrom/nestlab\n" in iso.late
    assert iso.values["apt-setup/use_mirror"] == "false"
    assert {answer.delivery for answer in url.plan.answers} == {"http"}
    assert url.values["preseed/late_command"] == (
        "fetch-url http://192.0.2.9:8000/host-a/nestlab/late.sh /tmp/nestlab-late.sh && sh /tmp/nestlab-late.sh"
    )


@pytest.mark.parametrize("release", RELEASES)
def test_what_the_network_needs_is_said_before_answers_come_over_it(release: str) -> None:
    words = arguments(CASES[f"{release}-url"].plan)
    assert "url=http://192.0.2.9:8000/host-a/preseed.cfg" in words
    assert words[words.index("netcfg/disable_autoconfig=true") :][:6] == (
        "netcfg/disable_autoconfig=true", "netcfg/get_ipaddress=192.0.2.10", "netcfg/get_netmask=255.255.255.0",
        "netcfg/get_gateway=192.0.2.1", "netcfg/get_nameservers=192.0.2.53", "netcfg/confirm_static=true",
    )  # fmt: skip
    assert {f"interface={MANAGEMENT_MAC}", "hostname=host-a"} <= set(words)


def test_names_of_cards_are_the_hosts_own_affair() -> None:
    """The installer takes the card by its address; the drop-in gives both kernels of the host the old names."""
    case = CASES["13-bios-lvm"]
    assert not any("ifnames" in word for word in arguments(case.plan))
    dropin = case.answers["nestlab/files/etc/default/grub.d/00-nestlab.cfg"]
    rows = [
        line for line in dropin.splitlines() if line.startswith(("GRUB_CMDLINE_LINUX=", "GRUB_CMDLINE_LINUX_XEN_R"))
    ]
    assert len(rows) == 3 and sum("net.ifnames=0" in row for row in rows) == 2


@pytest.mark.parametrize("release", RELEASES)
def test_two_boots_with_marks_that_the_scripts_print(release: str) -> None:
    case = CASES[f"{release}-bios-lvm"]
    install, host = case.plan.boots
    assert (install.medium, install.on_reboot, install.phases[-1].signal) == (True, "end", "power-off")
    assert (host.medium, host.phases[-1].signal, host.name) == (False, "ssh", "disk")
    scripts = "".join(case.answers[f"nestlab/{name}.sh"] for name in ("early", "partman", "late", "last"))
    printed = re.findall(r"^(?:tell|milestone \S+) \w+ \S+ '([^']*)'", scripts, re.MULTILINE)
    awaited = [phase.awaits.removeprefix("nestlab: ") for phase in install.phases if phase.awaits.startswith("nestlab")]
    awaited = [mark for mark in awaited if not mark.startswith("step ")]  # the installer's own, from its log
    assert sorted(printed) == sorted(awaited) and len(awaited) == 6
    for phase in install.phases:
        for cause in phase.causes:
            re.compile(cause.pattern)
    assert plan(release, install={"end": "reboot"}).boots[0].phases[-1].signal == "reboot"
    assert case.plan.recipe is None and case.plan.checks == ("test_debian_dom0.py", "test_debian_installed.py")


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("Prompt: '?' for help, default=1> ", "question-asked"),
        ("!! ERROR: Failed to retrieve the preconfiguration file", "answers-missing"),
        ("!! ERROR: Failed to process the preconfiguration file", "answers-refused"),
        ("!! ERROR: Network autoconfiguration failed", "no-network"),
        ("!! ERROR: Bad archive mirror", "mirror-failed"),
        ("!! ERROR: Failed to partition the selected disk", "disks-refused"),
        ("!! ERROR: Error while setting up RAID", "array-refused"),
        ("!! ERROR: Base system installation error", "packages-failed"),
        ("!! ERROR: Unable to install GRUB in /dev/sda", "loader-failed"),
        ("!! ERROR: Failed to run preseeded command", "script-failed"),
        ("nestlab: the installation failed", "installation-failed"),
        ("Kernel panic - not syncing: Attempted to kill init!", "kernel-panic"),
    ],
)
def test_a_failure_is_known_by_its_line(line: str, cause: str) -> None:
    causes = [each for phase in plan().boots[0].phases for each in phase.causes if re.search(each.pattern, line)]
    assert {each.name for each in causes} == {cause}


SMALL = tuple(disk(f"disk{n}", size=6 * GIB) for n in range(4))
REFUSED: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("odd RAID10", {"disks": 5, "level": 10}, "without its mirror"),
    ("msdos and UEFI", {"firmware": "uefi", "install": {"label": "msdos"}}, "GPT disks only"),
    ("small disks", {"small": 1}, "leave 0 MB for guests"),
    ("array of data disks", {"disks": 3, "raid": (RaidArray(name="data", level=1, disks=("disk1", "disk2")),)},
     "does not hold the first disk"),
    ("one of two disks", {"disks": 2}, "depends on which one answers first .NLD073."),
    ("unknown disk", {"install": {"devices": {"disk9": "/dev/sdz"}}}, "names the disk 'disk9'"),
    ("a dot in an array", {"disks": 2, "level": 1, "install": {"devices": {"disk0": "/dev/disk/by-id/ata-1.5"}}},
     "ends an array's description at a dot"),
    ("no disk", {"disks": 0}, "needs a disk"),
    ("UEFI and LSI", {"firmware": "uefi", "lsi": True}, "OVMF has no driver"),
    ("BIOS and 4Kn", {"sector": "4Kn"}, "NLD056"),
    ("memory", {"xen": xen(dom0_memory=4 * GIB)}, "does not fit"),
    ("two users", {"install": {"users": [{"name": "a"}, {"name": "a"}]}}, "two users are called a"),
    ("root as user", {"install": {"users": [{"name": "root"}]}}, "no user of its own"),
    ("url from nowhere", {"install": {"delivery": "url"}}, "needs served_at"),
    ("two domains", {"install": {"hostname": "a.example", "domain": "b.example"}}, "hostname has a domain"),
    ("no gateway", {"install": {"network": {"address": "192.0.2.9/24"}}}, "come together"),
    ("gateway next door", {"install": {"network": {"address": "192.0.2.9/24", "gateway": "198.51.100.1"}}},
     "not in the network"),
    ("IPv6", {"install": {"network": {"address": "fd00::9/64", "gateway": "fd00::1"}}}, "is IPv4"),
    ("name servers alone", {"install": {"network": {"nameservers": ["192.0.2.1"]}}}, "come with an address"),
    ("bash in the installer", {"install": {"early": [text_file("#!/bin/bash\ntrue\n")]}}, "NLD082"),
    ("no interpreter", {"install": {"late": [{"file": text_file("true\n")}]}}, "NLD084"),
    ("Windows", {"install": {"partman": [text_file("true\r\n")]}}, "NLD085"),
)  # fmt: skip


@pytest.mark.parametrize(("changes", "why"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_what_cannot_work_is_refused(changes: dict[str, Any], why: str) -> None:
    values = {k: v for k, v in changes.items() if k not in ("disks", "level", "small", "lsi", "sector")}
    node = install_node("13", changes.get("disks", 1), changes.get("level"), **values)
    if "small" in changes:
        node = node.model_copy(update={"disks": SMALL[: changes["small"]]})
    if "lsi" in changes:
        node = node.model_copy(update={"disks": (disk(),)})
    if "sector" in changes:
        node = node.model_copy(update={"disks": (disk(size=50 * GIB, sector=changes["sector"]),)})
    with pytest.raises(LabError, match=why) as caught:
        Debian().plan(node)
    assert caught.value.hint


def test_some_of_the_disks_are_told_apart_by_their_identity() -> None:
    case = Case(install_node(disks=3, install={"disk_names": "by-id"}))
    assert case.values["partman-auto/disk"] == "/dev/disk/by-id/scsi-0QEMU_QEMU_HARDDISK_disk0"
    named = Case(install_node(disks=2, bus="virtio"))
    assert named.values["partman-auto/disk"] == "/dev/vda"


def test_a_4kn_disk_may_be_installed_on_with_uefi_and_never_imaged() -> None:
    large = disk(size=50 * GIB, bus="virtio", sector="4Kn")
    node = install_node(firmware="uefi").model_copy(update={"disks": (large,)})
    assert "/dev/vda" in Case(node).values["partman-auto/disk"]
    with pytest.raises(LabError, match="sectors of 512 bytes"):
        Debian().plan(node.model_copy(update={"source": ImageSource()}))


def test_a_users_template_stands_in_and_is_judged(tmp_path: Path) -> None:
    shipped = (data_dir("answerfiles") / "debian/install/preseed.cfg").read_text()
    mine = tmp_path / "debian/install/preseed.cfg"
    mine.parent.mkdir(parents=True)
    mine.write_text(shipped.replace("# Boot loader.\n", "# Boot loader, mine.\n"))
    answers = {answer.name: answer.content for answer in Debian(tmp_path).plan(install_node()).answers}
    assert "# Boot loader, mine.\n" in answers["preseed.cfg"]
    mine.write_text(shipped.replace("d-i partman/choose_partition select finish\n", ""))
    with pytest.raises(LabError, match=r"would ask for whether partitioning is done .NLD010."):
        Debian(tmp_path).plan(install_node())


HOSTILE = (
    "x\nd-i passwd/root-password password secret", "x\r\nd-i preseed/late_command string id", "a b", 'a"b', "a'b",
    "a;b", "a#b", "a`id`b", "$(id)", "${IFS}", "a\\", "a\\b", "a\0b", "]]>", "%pre", "%end", "a|b", "a&b", "a>b", "~",
    "{{ x }}", "{% raw %}", "\u202eabc", "é", "a\tb", "", " ", " a", "a ", ".", "..", "a . b", "}", "{",
    "-rf", "--help", "\u2028", "\x1b[2J", "x" * 5000,
)  # fmt: skip
FIELDS: tuple[tuple[str, Any], ...] = (
    ("language", lambda v: {"language": v}), ("keyboard", lambda v: {"keyboard": v}),
    ("timezone", lambda v: {"timezone": v}), ("ntp", lambda v: {"ntp": v}), ("hostname", lambda v: {"hostname": v}),
    ("domain", lambda v: {"domain": v}), ("mirror", lambda v: {"mirror": v}),
    ("mirror's path", lambda v: {"mirror": f"http://m.example/{v}"}), ("proxy", lambda v: {"proxy": v}),
    ("served at", lambda v: {"delivery": "url", "served_at": v}),
    ("served at, path", lambda v: {"delivery": "url", "served_at": f"http://m.example/{v}"}),
    ("udeb suite", lambda v: {"udeb_suite": v}), ("volume group", lambda v: {"volume_group": v}),
    ("root password", lambda v: {"root_password": v}), ("key", lambda v: {"root_keys": [v]}),
    ("key's comment", lambda v: {"root_keys": [f"{KEY} {v}"]}),
    ("user's key", lambda v: {"users": [{"name": "a", "keys": [f"{KEY} {v}"]}]}),
    ("package", lambda v: {"packages": [v]}), ("user", lambda v: {"users": [{"name": v}]}),
    ("group", lambda v: {"users": [{"name": "x", "groups": [v]}]}),
    ("hash", lambda v: {"users": [{"name": "x", "password": v}]}), ("device", lambda v: {"devices": {"disk0": v}}),
    ("identity", lambda v: {"devices": {"disk0": f"/dev/disk/by-id/{v}"}}),
    ("address", lambda v: {"network": {"address": v, "gateway": "192.0.2.1"}}),
    ("gateway", lambda v: {"network": {"address": "192.0.2.9/24", "gateway": v}}),
    ("name server", lambda v: {"network": {"address": "192.0.2.9/24", "gateway": "192.0.2.1", "nameservers": [v]}}),
)  # fmt: skip


@pytest.mark.parametrize("value", HOSTILE, ids=[str(n) for n in range(len(HOSTILE))])
@pytest.mark.parametrize("field", FIELDS, ids=[name for name, _ in FIELDS])
def test_hostile_text_is_refused_or_inert(field: tuple[str, Any], value: str) -> None:
    """What gets through reads back as answers to the same questions, one each: no other password, no other command."""
    try:
        DebianInstall.model_validate(field[1](value))
        case = Case(install_node(install=field[1](value)))
        text = case.text
    except (ValidationError, LabError):
        return
    values, said = debconf(text)
    plain = CASES["13-url" if "served" in field[0] else "13-bios-lvm"]
    assert said == ""
    more = {"clock-setup/ntp-server", "mirror/udeb/suite", "mirror/http/hostname", "mirror/http/directory",
            "netcfg/disable_autoconfig", "netcfg/get_ipaddress", "netcfg/get_netmask", "netcfg/get_gateway",
            "netcfg/get_nameservers", "netcfg/confirm_static"}  # fmt: skip
    assert set(values) - more == set(plain.values) - more
    assert values["passwd/root-password-crypted"] == ("*" if field[0] != "root password" else value)
    if "served" not in field[0]:
        commands = ("preseed/early_command", "preseed/late_command", "partman/early_command")
        assert [values[name] for name in commands] == [plain.values[name] for name in commands]


def test_keys_may_have_any_comment() -> None:
    key = KEY + ' O\'Neil; $(rm) `id` "x" \\ # EOF'
    late = Case(install_node(install={"root_keys": [key], "users": [{"name": "a", "keys": [key]}]})).late
    quoted = key.replace("'", "'\"'\"'")
    assert f"authorise /root '{quoted}'\n" in late and f"authorise /home/a '{quoted}'\n" in late


def test_passwords_are_hashes_only() -> None:
    for good in (HASH, "$y$j9T$salt$" + "a" * 43):
        assert DebianInstall.model_validate({"root_password": good})
    for bad in ("secret", "$1$salt$hash", "*", "!", HASH + "\n"):
        with pytest.raises(ValidationError):
            DebianInstall.model_validate({"root_password": bad})


@pytest.mark.parametrize(
    "name",
    ["xend-config.sxp", "inittab", "xen-qemu-dm-4.0", "dpkg-divert", "08_linux_xen", "xm", "xen-linux-system",
     "install e1000e", "dom0-min-mem", "enable-dom0-ballooning", "dom0-cpus", "pciback.hide", "/etc/initramfs/modules",
     "network-script"],
)  # fmt: skip
def test_what_became_of_old_settings_is_told(name: str) -> None:
    row = DEAD[name]
    assert row.was and row.today and row.why and row.source
