"""What is decided for a NetBSD host: files for every kind of host, what is refused, and what hostile words become."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from builder.errors import LabError
from builder.media.edits import Put, from_model
from builder.model.lab import ImageSource, KernelSettings, RaidArray
from builder.model.plan import SystemPlan
from builder.model.units import GIB, MIB, TIB
from builder.systems.guests.files import started_with_host
from builder.systems.netbsd.explained import DEAD
from builder.systems.netbsd.judge import judge_boot_cfg
from builder.systems.netbsd.judge.reading import BootConfig, read_boot_cfg
from builder.systems.netbsd.options import NetbsdInstall
from builder.systems.netbsd.system import Netbsd
from tests.support.netbsd import CASES, HASH, LANS, Case, dom0, netbsd_node
from tests.support.nodes import disk, nic
from tests.support.rhel import HASH as LINUX_HASH
from tests.support.rhel import KEY

SHELL = shutil.which("sh") or "sh"


def made(**changes: Any) -> Case:
    return Case(netbsd_node(**changes))


def menu(case: Case) -> BootConfig:
    return read_boot_cfg(case.files["/boot.cfg"])


def values(case: Case, *names: str) -> list[str]:
    """rc.conf's values as a shell reads them, with nothing to run but the shell itself."""
    text = "".join(line for line in case.files["/etc/rc.conf"].splitlines(keepends=True) if "defaults" not in line)
    text = text.replace("fi\n", "", 1)
    script = text + "".join(f'printf "%s\\n" "${{{name}-unset}}"\n' for name in names)
    shown = subprocess.run([SHELL, "-c", script], check=True, capture_output=True, text=True, env={"PATH": "/nowhere"})
    assert shown.stderr == ""
    return shown.stdout.splitlines()


def test_there_are_cases_enough() -> None:
    assert len(CASES) >= 30


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_every_case_is_judged_as_expected(case: Case) -> None:
    assert tuple(finding.code for finding in case.plan.findings) == case.warned
    assert SystemPlan.model_validate_json(case.plan.model_dump_json()) == case.plan
    assert Netbsd().plan(case.node) == case.plan


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_menu_has_xen_first_and_ways_back(case: Case) -> None:
    config = menu(case)
    assert config.chosen is not None and config.chosen.description == "Xen"
    load, start = config.chosen.commands
    assert load.startswith("load /netbsd-XEN3_DOM0.gz") and start.startswith("multiboot /xen.gz dom0_mem=")
    told = [entry.commands[-1] for entry in config.entries]
    assert {"boot netbsd", "boot netbsd -s", "boot netbsd.ok", "prompt"} <= set(told)
    assert any(command.startswith("multiboot /xen.ok ") for command in told)
    assert not config.letters and config.timeout == NetbsdInstall.model_validate(case.node.install).menu_timeout
    assert max(len(command) for entry in config.entries for command in entry.commands) <= 79


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_rc_conf_is_read_by_a_shell(case: Case) -> None:
    options = NetbsdInstall.model_validate(case.node.install)
    static = options.network.address is not None
    started = " ".join((*options.xendomains, *started_with_host(case.node)))
    assert values(case, "rc_configured", "hostname", "sshd", "xencommons", "xendomains", "npf", "dhcpcd") == [
        "YES", options.hostname or "host-a", "YES", "YES", started or "unset",
        "YES" if options.guests.mode == "nat" else "unset", "unset" if static else "YES",
    ]  # fmt: skip


def test_consoles() -> None:
    serial, second, screen = (menu(CASES[name]) for name in ("serial", "second-port", "screen"))
    assert (serial.consdev, second.consdev, screen.consdev) == ("com0", "com1", "pc")
    assert serial.entries[0].commands == (
        "load /netbsd-XEN3_DOM0.gz", "multiboot /xen.gz dom0_mem=1G,max:1G console=com1 com1=115200",
    )  # fmt: skip
    assert second.entries[0].commands[1].endswith("console=com2 com2=115200")
    assert screen.entries[0].commands == (
        "load /netbsd-XEN3_DOM0.gz console=pc", "multiboot /xen.gz dom0_mem=1G,max:1G",
    )  # fmt: skip
    both = menu(CASES["both"]).entries[0].commands[1]
    assert both.endswith("console=com1,vga com1=115200")
    assert 'ttyE1\t"/usr/libexec/getty Pc"\twsvt25\ton' in CASES["screen"].files["/etc/ttys"]
    assert "\ton" not in CASES["serial"].files["/etc/ttys"].partition("constty")[2]
    assert values(CASES["screen"], "wscons") == ["YES"] and values(CASES["serial"], "wscons") == ["unset"]


def test_arguments_are_on_the_layer_that_reads_them() -> None:
    case = CASES["full"]
    load, start = menu(case).entries[0].commands
    assert load == "load /netbsd-XEN3_DOM0.gz console=pc pciback.hide=(03:00.0)(04:00.1) -v"
    assert start == "multiboot /xen.gz dom0_mem=1G,max:1G dom0_max_vcpus=1 noreboot ucode=scan"
    assert case.plan.boot_args.hypervisor == tuple(start.split()[2:])
    assert case.plan.boot_args.kernel == tuple(load.split()[2:])
    assert "dom0_max_vcpus" not in CASES["serial"].files["/boot.cfg"]
    assert "dom0_mem=512M,max:512M" in CASES["half-a-gib"].files["/boot.cfg"]


def test_the_root_is_a_disk_or_the_array_that_it_is_in() -> None:
    for bus, name in (("lsilogic", "sd"), ("ide", "wd")):
        assert f"/dev/{name}0a\t/\tffs" in CASES[f"bus-{bus}"].files["/etc/fstab"]
        mirrored = CASES[f"bus-{bus}-raid1"]
        assert "/dev/raid0a\t/\tffs" in mirrored.files["/etc/fstab"]
        assert f"/dev/{name}0a\n/dev/{name}1a\n" in mirrored.files["/etc/raid0.conf"]
        assert "root=" not in CASES[f"bus-{bus}"].files["/boot.cfg"] + mirrored.files["/boot.cfg"]
    assert "/dev/ld0a\n/dev/ld1a\n" in CASES["other-names"].files["/etc/raid0.conf"]


def test_the_root_is_named_where_the_first_disk_may_be_another() -> None:
    assert "root=wd0a" in CASES["mixed-buses"].files["/boot.cfg"]
    assert "root=wd2a" in made(bus="ide", install={"devices": {"disk0": "wd2", "disk1": "wd1"}}).files["/boot.cfg"]
    assert "root=wd10a" in made(bus="ide", install={"devices": {"disk0": "wd10"}}).files["/boot.cfg"]


def test_cards_have_the_names_of_their_drivers() -> None:
    for model, name in (("e1000", "wm"), ("e1000e", "wm"), ("rtl8139", "re")):
        assert {f"/etc/ifconfig.{name}0", f"/etc/ifconfig.{name}1"} <= set(CASES[f"card-{model}"].files)
    assert {"/etc/ifconfig.wm0", "/etc/ifconfig.re0", "/etc/ifconfig.wm1"} <= set(CASES["mixed-cards"].files)
    assert "/etc/ifconfig.ixg0" in CASES["other-names"].files


def test_networks() -> None:
    files = CASES["networks"].files
    assert files["/etc/ifconfig.wm1"] == (
        "up\nmtu 9000\ninet 10.0.0.5 netmask 255.255.255.0\ninet6 fd00::5 prefixlen 64\n"
    )
    assert files["/etc/ifconfig.wm3"] == "up\n"
    assert files["/etc/ifconfig.vlan0"] == (
        "create\nvlan 10 vlanif wm2\nup\ninet 10.0.10.5 netmask 255.255.255.0\n"
        "inet 10.0.10.6 netmask 255.255.255.0 alias\n"
    )
    assert files["/etc/ifconfig.vlan1"] == "create\nvlan 20 vlanif wm2\nup\n"
    assert files["/etc/ifconfig.bridge0"] == "create\n!brconfig bridge0 add wm0\nup\n"
    assert "/etc/ifconfig.bridge7" in CASES["other-bridge"].files
    assert values(CASES["networks"], "dhcpcd_flags") == ["-qM wm0"]
    assert values(CASES["full"], "defaultroute", "defaultroute6") == ["192.0.2.1", "unset"]
    assert values(CASES["static6"], "defaultroute", "defaultroute6") == ["unset", "fd00::1"]
    assert CASES["full"].files["/etc/resolv.conf"] == "nameserver 192.0.2.53\n"
    assert CASES["full"].files["/etc/ntp.conf"].endswith("server ntp1.example iburst\nserver 192.0.2.123 iburst\n")


def test_guests_behind_a_translation() -> None:
    files = CASES["guests-nat-card"].files
    assert "map wm1 dynamic 10.0.0.0/24 -> inet4(wm1)\n" in files["/etc/npf.conf"]
    assert files["/etc/sysctl.conf"] == "net.inet.ip.forwarding=1\n"
    assert files["/etc/ifconfig.bridge0"] == (
        "create\n!ifconfig vether0 create\n!ifconfig vether0 inet 10.0.0.1 netmask 255.255.255.0 up\n"
        "!brconfig bridge0 add vether0\nup\n"
    )
    assert "map wm0 dynamic 10.9.0.0/16 -> inet4(wm0)\n" in CASES["full"].files["/etc/npf.conf"]
    assert files["/etc/ifconfig.bridge1"] == "create\n!brconfig bridge1 add wm1\nup\n"
    bridged = CASES["networks"].files
    for number in range(4):
        assert f"!brconfig bridge{number} add wm{number}\n" in bridged[f"/etc/ifconfig.bridge{number}"]
    assert not {"/etc/npf.conf", "/etc/sysctl.conf"} & set(bridged)


def test_guests_of_the_lab_file() -> None:
    case = CASES["own-guests"]
    assert values(case, "xendomains") == ["mail www dns"]
    assert {f"/usr/pkg/etc/xen/{name}" for name in ("www", "spare", "dns")} <= set(case.files)
    assert "disk = [" in case.files["/usr/pkg/etc/xen/www"] and "put 0644 /usr/pkg/etc/xen/www\n" in case.script
    assert "MAKEDEV all xen vnd4 vnd5'" in case.script


def test_root_gets_in_by_what_is_given_and_never_by_nothing() -> None:
    assert "usermod -p '*' root\n" in CASES["serial"].script
    full = CASES["full"]
    assert f"usermod -p '{HASH}' root\n" in full.script
    assert full.files["/root/.ssh/authorized_keys"] == KEY + "\n"
    assert "put 0600 /root/.ssh/authorized_keys\n" in full.script
    assert "/root/.ssh/authorized_keys" not in CASES["serial"].files


def test_the_medium_starts_the_script_and_carries_the_files() -> None:
    plan = CASES["serial"].plan
    edits = from_model(plan.media_edits, plan.answers)
    puts = {edit.path: edit for edit in edits if isinstance(edit, Put)}
    assert len(puts) == len(edits)
    assert {"/boot.cfg", "/install.sh", "/nestlab/install.sh", "/nestlab/host/etc/rc.conf"} <= set(puts)
    assert (puts["/boot.cfg"].expect, puts["/install.sh"].expect, puts["/install.sh"].mode) == ("old", "old", 0o555)
    assert isinstance(puts["/install.sh"].content, bytes)
    assert puts["/install.sh"].content.splitlines() == [b"#!/bin/sh", b"exec /bin/sh /nestlab/install.sh"]
    for name, consdev in (("serial", "com0"), ("second-port", "com1"), ("screen", "pc")):
        text = CASES[name].plan.media_edits[0].content
        config = read_boot_cfg(text)
        assert judge_boot_cfg(text) == ()
        assert (config.timeout, config.default, config.consdev) == (1, 0, consdev)
        assert config.chosen is not None and config.chosen.commands == ("boot netbsd",)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_two_boots_with_marks_that_the_script_prints(case: Case) -> None:
    install, host = case.plan.boots
    assert (install.medium, install.on_reboot, host.medium, host.phases[-1].signal) == (True, "end", False, "ssh")
    end = NetbsdInstall.model_validate(case.node.install).end
    assert install.phases[-1].signal == ("power-off" if end == "poweroff" else "reboot")
    printed = [f"nestlab: {text}" for text in re.findall(r"^say '([^']*)'$", case.script, re.MULTILINE)]
    assert [phase.awaits for phase in install.phases if phase.awaits.startswith("nestlab")] == printed


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("nestlab: failed: look at the machine: there is no disk wd0", "disk-missing"),
        ("nestlab: failed: look at the medium: xenkernel418 and xentools418 do not match: a-1.tgz, b-2.tgz",
         "packages-do-not-match"),
        ("nestlab: failed: look at the medium: the set base is not on the medium", "medium-incomplete"),
        ("nestlab: failed: bring up the network: dhcpcd -1 -t 90 wm0", "network-missing"),
        ("nestlab: failed: prepare the disks: newfs -O 2 /dev/rwd0a", "disks-refused"),
        ("nestlab: failed: install the packages: chroot /targetroot pkg_add", "packages-refused"),
        ("nestlab: failed: make it bootable: installboot", "installation-failed"),
        ("nestlab: this script has run before; it does not install twice", "installer-started-twice"),
        ("panic: cannot mount root, error = 16", "kernel-panic"),
        ("root device (default wd0a): ", "no-root"),
    ],
)  # fmt: skip
def test_a_failure_is_known_by_its_line(line: str, cause: str) -> None:
    for phase in CASES["serial"].plan.boots[0].phases:
        found = [each.name for each in phase.causes if re.search(each.pattern, line)]
        assert found[:1] in ([], [cause])
    assert any(re.search(c.pattern, line) for p in CASES["serial"].plan.boots[0].phases for c in p.causes)


LARGE = tuple(disk(f"disk{n}", size=3 * TIB) for n in range(2))
REFUSED: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("UEFI", {"firmware": "uefi", "bus": "sata"}, "NLN090"),
    ("virtio disks", {"bus": "virtio"}, "NLN091"),
    ("virtio card", {"management_nic": "virtio"}, "NLN091"),
    ("large disk", {"disks": LARGE}, "NLN092"),
    ("4Kn", {"disks": (disk("disk0", sector="4Kn"),)}, "NLN094"),
    ("no medium", {"source": ImageSource()}, "installed from a medium"),
    ("no disk", {"disks": ()}, "needs a disk"),
    ("small disk", {"disks": (disk("disk0", size=4 * GIB),), "install": {"swap": "2GiB"}}, "leave 2047 MiB for /"),
    ("RAID0", {"raid": (RaidArray(name="s", level=0, disks=("disk0", "disk1")),)}, "RAID1 pair"),
    ("two arrays", {"raid": (RaidArray(name="s", level=1, disks=("disk0", "disk1")),) * 2}, "RAID1 pair"),
    ("array of four", {
        "disks": tuple(disk(f"disk{n}") for n in range(4)),
        "raid": (RaidArray(name="s", level=1, disks=tuple(f"disk{n}" for n in range(4))),)}, "RAID1 pair"),
    ("array without the first disk", {
        "disks": tuple(disk(f"disk{n}") for n in range(3)),
        "raid": (RaidArray(name="s", level=1, disks=("disk1", "disk2")),)}, "does not hold the first disk"),
    ("unknown disk", {"install": {"devices": {"disk9": "wd0"}}}, "names the disk 'disk9'"),
    ("one name twice", {"install": {"devices": {"disk0": "wd0", "disk1": "wd0"}}}, "two disks are called wd0"),
    ("a name that another disk has", {"bus": "ide", "install": {"devices": {"disk1": "wd0"}}}, "two disks are called"),
    ("one card twice", {"nics": (nic(1),), "install": {"cards": ["wm0", "wm0"]}}, "one name twice"),
    ("too few cards", {"nics": (nic(1),), "install": {"cards": ["wm0"]}}, "names 1 cards, and the node has 2"),
    ("names of disks nobody can tell", {"disks": (disk("disk0", bus="sata"), disk("disk1", bus="ide"))}, "called wd"),
    ("names of cards nobody can tell", {"nics": (nic(1, model="e1000e"),)}, "all called wm"),
    ("dom0 larger than its host", {"xen": dom0(dom0_memory=2 * GIB)}, "does not fit"),
    ("bridge", {"xen": dom0(bridge="xenbr0")}, "no bridge called xenbr0"),
    ("guests' card", {"install": {"guests": {"card": 3}}}, "no card 3"),
    ("guests' network", {"install": {"guests": {"address": "fd00::1/64"}}}, "only IPv4"),
    ("gateway alone", {"install": {"network": {"gateway": "192.0.2.1"}}}, "comes with an address"),
    ("gateway elsewhere", {"install": {"network": {"address": "192.0.2.5/24", "gateway": "10.0.0.1"}}}, "not in the"),
    ("packages by a name nobody knows", {"install": {"packages": "http://cdn.example/All",
                                                     "network": {"address": "192.0.2.5/24"}}}, "no name server"),
    ("guest twice", {"install": {"xendomains": ["a", "a"]}}, "named twice"),
    ("device of another domain", {"xen": dom0(pciback_hide=("0001:03:00.0",))}, "domain 0 only"),
    ("long command for Xen", {"xen": dom0(arguments=("cpufreq=xen:performance,verbose",))}, "has room for 79"),
    ("long command for dom0", {"kernel": KernelSettings(arguments=("x" * 54,))}, "has room for 79"),
    ("too many devices", {"xen": dom0(pciback_hide=tuple(f"03:00.{n}" for n in range(6)))}, "has room for 79"),
)  # fmt: skip


@pytest.mark.parametrize(("changes", "said"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_what_cannot_be_done_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(LabError, match=said) as caught:
        Netbsd().plan(netbsd_node(**changes))
    assert caught.value.hint


HOSTILE = (
    "a\nb", "a\nmenu=Own:boot own", "a;b", "a#b", "a:b", "a b", "$(reboot)", "`reboot`", "a'b", 'a"b', "a\\b", "a\0b",
    "", "-x", "é", "a\rb", "../../etc/rc", "a|b", "a&b", "*", "a>b",
)  # fmt: skip
FIELDS: tuple[str, ...] = (
    "sets", "xen", "packages", "kernel", "swap", "hostname", "timezone", "ntp", "root_password", "root_keys",
    "xendomains", "end", "devices", "cards", "network.address", "network.gateway", "network.nameservers",
    "guests.mode", "guests.address",
)  # fmt: skip


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("word", HOSTILE, ids=ascii)
def test_a_hostile_word_is_refused_in_every_setting(field: str, word: str) -> None:
    outer, _, inner = field.partition(".")
    listed = field in ("sets", "ntp", "root_keys", "xendomains", "cards", "network.nameservers")
    value: Any = [word] if listed else {"disk0": word} if field == "devices" else word
    with pytest.raises((ValidationError, LabError)):
        NetbsdInstall.model_validate({outer: {inner: value} if inner else value})


@pytest.mark.parametrize("word", [word for word in HOSTILE if word])
def test_a_hostile_argument_is_refused_or_stands_where_it_was_put(word: str) -> None:
    """The lab file's own pattern refuses most of these; here they come as if it had not."""
    node = netbsd_node()
    for layer, part in ((1, {"xen": node.xen}), (0, {"kernel": node.kernel})):
        ((name, settings),) = part.items()
        case = Case(node.model_copy(update={name: settings.model_copy(update={"arguments": (word,)})}))
        try:
            config = menu(case)
        except LabError:
            continue
        assert [entry.description for entry in config.entries] == [e.description for e in menu(CASES["serial"]).entries]
        assert config.entries[0].commands[layer].endswith(f" {word}")


def test_words_that_are_taken_come_out_inert() -> None:
    odd = KEY.rpartition(" ")[0] + " $(reboot) `x` 'y' \"z\" ;# \\"
    case = made(install={"root_keys": [odd], "hostname": "a-b.c", "xendomains": ["a.b+c_d-e"]})
    assert case.files["/root/.ssh/authorized_keys"] == odd + "\n"
    assert odd not in case.script
    assert values(case, "hostname", "xendomains") == ["a-b.c", "a.b+c_d-e"]


def test_a_password_of_another_system_is_refused_with_the_way_out() -> None:
    for word in (LINUX_HASH, "$y$j9T$salt$" + "a" * 43, "$2b$10$" + "a" * 53, "secret"):
        with pytest.raises(ValidationError, match="is not a crypt hash"):
            NetbsdInstall.model_validate({"root_password": word})
    for word in (HASH, "$sha1$24680$salt$" + "a" * 28, "$argon2id$v=19$m=4096,t=3,p=1$c2FsdA$aGFzaA"):
        assert NetbsdInstall.model_validate({"root_password": word}).root_password == word


def test_a_users_template_is_judged_as_well(tmp_path: Path) -> None:
    mine = tmp_path / "netbsd" / "host"
    mine.mkdir(parents=True)
    (mine / "boot.cfg").write_text("menu=Mine:boot netbsd\ntimeout=-1\n")
    with pytest.raises(LabError, match="NLN010"):
        Netbsd(tmp_path).plan(netbsd_node())
    (mine / "boot.cfg").write_text("menu=Mine:boot netbsd\ntimeout=3\n")
    answers = {answer.name: answer.content for answer in Netbsd(tmp_path).plan(netbsd_node()).answers}
    assert "Mine" in answers["nestlab/host/boot.cfg"]


def test_dead_settings_say_what_does_it_today() -> None:
    assert {"dom0 SMP: No", "PVH: No", "netbsd-XEN3PAE_DOM0.gz", "xend", "xm", "INSTALL_XENPAE", "xencons=tty1"} <= set(
        DEAD
    )
    for row in DEAD.values():
        assert row.was and row.today and row.why and row.source
    # What is called dead is written nowhere by us.
    written = "".join("".join(case.files.values()) + case.script for case in CASES.values())
    for word in ("XEN3PAE", "INSTALL_XENPAE", "xencons", "xentools48", "xen48", "dkcsum", "/kern/xen/pci"):
        assert word not in written
    assert not re.search(r"\b(xend|xm)\b", written)


def test_words_of_the_script_are_words() -> None:
    """What the lab names goes into the script as single words."""
    script = CASES["full"].script
    (options,) = re.findall(r"installboot -v -o (\S+) ", script)
    assert shlex.split(options) == ["timeout=0,console=pc"]
    assert "speed=115200" in CASES["serial"].script
    assert f"dom0 {MIB}" not in script and "http://192.0.2.9/packages/All" in script
    assert "ifconfig wm0 inet 192.0.2.10 netmask 255.255.255.0 up" in script
    assert len(LANS) == 3
