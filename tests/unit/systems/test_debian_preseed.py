"""Answers for the Debian installer, for every layout, by several judges: golden text, debconf's own reader, our own
judge, and what debconf's reading says about disks, arrays, packages and scripts."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable

import pytest

from builder.model.units import GIB
from builder.systems.debian.judge import judge_preseed
from builder.systems.debian.options import DebianInstall
from builder.systems.machine import machine_of
from tests.conftest import GOLDEN
from tests.support.debian import CASES, FULL, HASH, KEY, RELEASES, Case, debconf, install_node
from tests.support.nodes import MANAGEMENT_MAC, xen

# One text for each thing that is decided: the others differ by numbers only.
KEPT = (
    "12-bios-lvm", "13-bios-plain", "13-bios-gpt-plain", "13-bios-lvm", "13-uefi-lvm", "13-uefi-plain",
    "13-bios-raid10x4", "13-bios-gpt-raid1x2", "13-uefi-raid10x4", "13-by-id", "13-full", "13-iso", "13-url",
)  # fmt: skip
SCRIPTS = ("13-bios-plain", "13-uefi-raid10x4", "13-full", "13-url")

each_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


@pytest.mark.parametrize("name", KEPT)
def test_text(name: str, golden: Callable[[str, str], None]) -> None:
    golden(f"debian/{name}.cfg", CASES[name].text)


@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.parametrize("script", ["early", "partman", "late", "last"])
def test_script(name: str, script: str, golden: Callable[[str, str], None]) -> None:
    golden(f"debian/{name}.{script}.sh", CASES[name].answers[f"nestlab/{script}.sh"])


def test_no_golden_file_is_left_over() -> None:
    kept = {f"{name}.cfg" for name in KEPT} | {
        f"{n}.{s}.sh" for n in SCRIPTS for s in ("early", "partman", "late", "last")
    }
    assert {path.name for path in (GOLDEN / "debian").iterdir()} == kept


def test_there_are_cases_enough() -> None:
    assert len(CASES) >= 40


@each_case
def test_debconf_takes_it_without_a_word(case: Case) -> None:
    values, said = debconf(case.text)
    assert said == ""
    asked = [line.split()[1] for line in case.text.splitlines() if re.match(r"(d-i|popularity-contest) ", line)]
    assert sorted(asked) == sorted(values)
    assert len(set(asked)) == len(asked)


def test_debconf_does_complain() -> None:
    assert debconf("d-i just-a-name\n")[1] != ""


@each_case
def test_our_judge_finds_nothing(case: Case) -> None:
    options = DebianInstall.model_validate(case.node.install)
    machine = machine_of(case.node, options.disk_names, options.devices)
    assert [finding.code for finding in judge_preseed(case.text, case.release, machine)] == list(case.warned)
    assert [finding.code for finding in case.plan.findings] == list(case.warned)


@each_case
def test_scripts_are_what_a_shell_reads(case: Case) -> None:
    scripts = [text for name, text in case.answers.items() if name.endswith((".sh", "/lib/nestlab/network"))]
    assert len(scripts) == 5
    for text in scripts:
        done = subprocess.run(["sh", "-n"], input=text, text=True, capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), text


def entries(case: Case) -> list[list[str]]:
    """The recipe's entries as words, as debconf keeps them."""
    text = case.values["partman-auto/expert_recipe"].partition(" : ")[2]
    return [entry.split() for entry in text.removesuffix(" .").split(" . ")]


def flag(entry: list[str], name: str) -> str | None:
    if f"{name}{{" not in entry:
        return None
    at = entry.index(f"{name}{{")
    return " ".join(entry[at + 1 : entry.index("}", at)])


@each_case
def test_disks_are_laid_out_as_documented(case: Case) -> None:
    """4 GB for /, swap as large as dom0's memory up to 2 GB, all the rest for guests; the firmware gets its part."""
    full = "swap" in case.node.install
    rows = entries(case)
    methods = [flag(row, "method") for row in rows]
    root = next(row for row in rows if flag(row, "mountpoint") == "/")
    swap = next(row for row in rows if flag(row, "method") == "swap")
    wanted = 512 * 1024**2 if full else min(case.node.xen.dom0_memory, 2 * GIB)
    assert root[:3] == ["8590" if full else "4295"] * 3
    assert (int(swap[0]) - 1) * 10**6 < wanted <= int(swap[0]) * 10**6
    label = case.values["partman-partitioning/default_label"]
    uefi = case.node.firmware == "uefi"
    assert label == ("gpt" if uefi or "gpt" in case.node.install.values() or case is CASES["13-large"] else "msdos")
    assert methods[:1] == (["efi"] if uefi else ["biosgrub"]) or label == "msdos"
    (growing,) = [row for row in rows if row[2] == "-1"]
    level = case.node.raid[0].level if case.node.raid else None
    plain = case.node.install.get("layout") == "plain"
    assert flag(growing, "method") == ("raid" if level is not None else "lvm")
    assert case.values["partman-auto/method"] == ("raid" if level is not None else "regular" if plain else "lvm")
    if plain:
        assert not any("$lvmok{" in row for row in rows)
        assert "in-target vgcreate --yes vg0 /dev/sda" in case.late
    else:
        volumes = [row for row in rows if "$lvmok{" in row]
        assert volumes == [root, swap]
        assert case.values["partman-auto-lvm/guided_size"] == f"{sum(int(row[0]) for row in volumes)} MB"
        assert "vgcreate" not in case.late


@each_case
def test_arrays_have_a_member_on_every_disk(case: Case) -> None:
    disks = case.values["partman-auto/disk"].split()
    if not case.node.raid:
        assert "partman-auto-raid/recipe" not in case.values and len(disks) == 1
        return
    boot, volumes = [piece.split() for piece in case.values["partman-auto-raid/recipe"].removesuffix(" .").split(" . ")]
    level, count = case.node.raid[0].level, len(case.node.disks)
    assert boot[:5] == ["1", str(count), "0", "ext4", "/boot"]
    assert volumes[:5] == [str(level), str(count), "0", "lvm", "-"]
    first = 1 if case.values["partman-partitioning/default_label"] == "msdos" else 2
    for row, number in ((boot, first), (volumes, first + 1)):
        members = row[5].split("#")
        between = "-part" if disks[0].startswith("/dev/disk/") else ""
        assert members == [f"{disk}{between if '/disk/' in disk else ''}{number}" for disk in disks]
    if case.node.firmware == "bios":
        assert case.values["grub-installer/bootdev"].split() == disks


@pytest.mark.parametrize("release", RELEASES)
def test_every_disk_of_an_array_starts_with_uefi_too(release: str) -> None:
    case = CASES[f"{release}-uefi-raid10x4"]
    assert [line for line in case.last.splitlines() if line.startswith("copy_efi /")] == [
        "copy_efi /dev/sdb1", "copy_efi /dev/sdc1", "copy_efi /dev/sdd1",
    ]  # fmt: skip
    assert case.values["grub-installer/force-efi-extra-removable"] == "true"
    assert "grub-installer/bootdev" not in case.values


@pytest.mark.parametrize("release", RELEASES)
def test_everything_that_can_be_said_reaches_the_installer(release: str) -> None:
    case = CASES[f"{release}-full"]
    wanted = {
        "mirror/http/hostname": "mirror.example:8080", "mirror/http/directory": "/debian",
        "mirror/http/proxy": "http://proxy.example:3128/", "mirror/udeb/suite": "dilocal",
        "mirror/suite": {"12": "bookworm", "13": "trixie"}[release], "apt-setup/services-select": "security",
        "debian-installer/locale": "de_DE.UTF-8", "keyboard-configuration/xkb-keymap": "de",
        "time/zone": "Europe/Berlin", "clock-setup/ntp-server": "ntp.example", "netcfg/hostname": "host-a",
        "netcfg/get_domain": "lab.example", "netcfg/get_ipaddress": "192.0.2.10",
        "netcfg/get_netmask": "255.255.255.0", "netcfg/get_gateway": "192.0.2.1",
        "netcfg/get_nameservers": "192.0.2.53 192.0.2.54", "netcfg/disable_autoconfig": "true",
        "netcfg/choose_interface": MANAGEMENT_MAC, "passwd/root-password-crypted": HASH,
        "partman-auto-lvm/new_vg_name": "guests", "debian-installer/exit/poweroff": "false",
        "preseed/early_command": "sh /nestlab/early.sh", "preseed/late_command": "sh /nestlab/late.sh",
        "partman/early_command": "sh /nestlab/partman.sh",
    }  # fmt: skip
    assert {name: case.values[name] for name in wanted} == wanted
    assert set(case.values["pkgsel/include"].split()) >= {"vim", "sudo", "xen-system-amd64", *FULL["packages"]}
    assert case.answers["nestlab/files/etc/nestlab/management"] == "192.0.2.10/24 192.0.2.1\n"
    assert "run early-1\n" in case.answers["nestlab/early.sh"]
    assert "run partman-1\n" in case.answers["nestlab/partman.sh"]
    assert case.last.index("in-target /root/nestlab-late-1\n") < case.last.index("run late-2\n")
    assert case.answers["nestlab/late-1"] == "#!/usr/bin/python3\nprint('in the host')\n"


def test_users_and_their_keys_are_made_by_the_late_script() -> None:
    late = CASES["13-full"].late
    assert f"authorise /root '{KEY}'" in late
    assert f"--groups sudo,adm,disk --password '{HASH}' alice" in late
    assert "--password '*' bob" in late
    assert f"authorise /home/bob '{KEY}'" in late and "chown -R bob: /home/bob/.ssh" in late
    assert "/target/etc/sudoers.d/nestlab-alice" in late and "nestlab-bob" not in late
    assert CASES["13-bios-lvm"].values["passwd/root-password-crypted"] == "*"


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("gib", [1, 2, 3])
def test_swap_follows_dom0s_memory(release: str, gib: int) -> None:
    node = install_node(release, memory=8 * GIB, xen=xen(dom0_memory=gib * GIB))
    swap = next(row for row in entries(Case(node)) if flag(row, "method") == "swap")
    assert swap[0] == {1: "1074", 2: "2148", 3: "2148"}[gib]


@each_case
def test_the_dom0_gets_the_same_files_as_an_image(case: Case) -> None:
    """All but the root's label, which an installed host does not have; and every one of them is put in its place."""
    from builder.model.lab import ImageSource  # noqa: PLC0415
    from builder.systems.debian.system import Debian  # noqa: PLC0415

    disks = tuple(each.model_copy(update={"sector": "512n"}) for each in case.node.disks)
    ready = case.node.model_copy(update={"source": ImageSource(), "install": {}, "raid": (), "disks": disks})
    image = Debian().plan(ready).recipe
    assert image is not None
    for file in image.files:
        mine = case.answers[f"nestlab/files{file.path}"]
        if file.path.endswith("00-nestlab.cfg"):
            rows = [line for line in file.content.splitlines() if "root" not in line and "LINUX_UUID" not in line]
            assert [line for line in mine.splitlines() if line] == [line for line in rows if line]
            assert "GRUB_DEVICE" not in mine
        else:
            assert mine == file.content
        assert f"put {file.mode:04o} {file.path}\n" in case.late
    put = re.findall(r"^put 0[0-7]{3} (\S+)$", case.late, re.MULTILINE)
    assert {f"nestlab/files{path}" for path in put} == {n for n in case.answers if n.startswith("nestlab/files/")}
