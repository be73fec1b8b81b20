"""What else is decided for a SUSE host: how the answers get there, two boots, and what is refused."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from builder.errors import LabError
from builder.model.lab import ImageSource, KernelSettings, RaidArray
from builder.model.plan import SystemPlan
from builder.model.units import GIB, TIB
from builder.paths import data_dir
from builder.systems import codes, dead_settings
from builder.systems.suse.explained import CODES, DEAD
from builder.systems.suse.options import SuseInstall
from builder.systems.suse.releases import RELEASES
from builder.systems.suse.system import Suse
from tests.conftest import GOLDEN
from tests.support.nodes import disk, nic, xen
from tests.support.rhel import HASH, text_file
from tests.support.suse import AGAMA, CASES, EXPERIMENT, YAST, scripts_of, suse_node
from tests.support.suse import RELEASES as NAMES

SUSE = Suse()
KEPT = ("15.6-full", "15.6-bond", "sles15-registered", "16.0-full", "sles16-uefi-raid10x4")
NS = "{http://www.suse.com/1.0/yast2ns}"


def plan(release: str = "15.6", *args: Any, **changes: Any) -> SystemPlan:
    return SUSE.plan(suse_node(release, *args, **changes))


def installer(made: SystemPlan) -> tuple[str, ...]:
    (edit,) = made.media_edits
    assert (edit.kind, edit.layer) == ("arguments", "kernel")
    assert {"console=", "quiet", "autoyast=", "inst.auto="} <= set(edit.remove)
    return edit.arguments


@pytest.mark.parametrize("release", NAMES)
def test_the_answers_get_to_the_installer(release: str) -> None:
    made = plan(release)
    (answer,) = made.answers
    words = installer(made)
    assert answer.delivery == "volume" and words[-2:] == ("console=tty0", "console=ttyS0,115200n8")
    if release in YAST:
        assert answer.name == "autoinst.xml" and words[0] == "autoyast=label://OEMDRV/autoinst.xml"
        assert not any(word.startswith("inst.") for word in words)
    else:
        assert answer.name == "autoinst.json" and words[0] == "inst.auto=label://OEMDRV/autoinst.json"
        assert "inst.finish=poweroff" in words and not any(word.startswith("autoyast") for word in words)


@pytest.mark.parametrize("name", CASES)
def test_each_case_is_told_what_is_expected(name: str) -> None:
    case = CASES[name]
    found = [finding.code for finding in case.plan.findings]
    assert sorted(found) == sorted((*case.warned, *((EXPERIMENT,) if case.node.release in AGAMA else ())))
    assert SystemPlan.model_validate_json(case.plan.model_dump_json()) == case.plan


def test_other_ways_of_delivery() -> None:
    assert installer(plan(install={"delivery": "initrd"}))[0] == "autoyast=file:///autoinst.xml"
    assert installer(plan(install={"delivery": "iso"}))[0] == "autoyast=cd:///autoinst.xml"
    served = {"served_at": "http://192.0.2.9/a/", "delivery": "http"}
    assert installer(plan(install=served))[0] == "autoyast=http://192.0.2.9/a/autoinst.xml"
    on_medium = installer(plan("16.0", install={"delivery": "iso"}))
    assert on_medium[0] == "inst.auto=file:///run/initramfs/live/autoinst.json"


def test_what_is_fetched_is_reached_with_the_management_cards_address() -> None:
    network = {"address": "192.0.2.10/24", "gateway": "192.0.2.1", "nameservers": ["192.0.2.53"], "vlan": 7}
    fetched = {"url": "http://mirror.example/leap", "network": network}
    words = installer(plan(install=fetched))
    assert "install=http://mirror.example/leap" in words
    assert "ifcfg=eth0.7=192.0.2.10/24,192.0.2.1,192.0.2.53" in words
    words = installer(plan("16.0", install=fetched))
    assert {"inst.install_url=http://mirror.example/leap", "vlan=eth0.7:eth0", "nameserver=192.0.2.53",
            "ip=192.0.2.10::192.0.2.1:255.255.255.0::eth0.7:none"} <= set(words)  # fmt: skip
    six = {"url": "http://mirror.example/leap", "network": {"address": "fd00::5/64"}}
    assert "ip=[fd00::5]:::64::eth0:none" in installer(plan("16.0", install=six))
    assert not any(word.startswith(("ifcfg=", "ip=")) for word in installer(plan(install={"network": network})))


@pytest.mark.parametrize("release", NAMES)
def test_two_boots_with_marks_that_the_scripts_print(release: str) -> None:
    made = plan(release)
    install, host = made.boots
    assert (install.medium, install.on_reboot, install.phases[-1].signal) == (True, "end", "power-off")
    assert (host.medium, host.phases[-1].signal) == (False, "ssh")
    assert [phase.name for phase in host.phases][:2] == ["hypervisor", "dom0 kernel"]
    printed = re.findall(r"^sh /tmp/nestlab-tell \w+ \S+ '([^']*)'", "".join(scripts_of(made).values()), re.MULTILINE)
    awaited = [phase.awaits.removeprefix("nestlab: ") for phase in install.phases if phase.awaits.startswith("nestlab")]
    assert printed == awaited and len(awaited) == 4
    for boot in made.boots:
        for phase in boot.phases:
            for cause in phase.causes:
                re.compile(cause.pattern)
    assert plan(release, install={"end": "reboot"}).boots[0].phases[-1].signal == "reboot"


@pytest.mark.parametrize(
    ("release", "boot", "line", "cause"),
    [
        ("15.6", 0, "Failed to download AutoYaST file.", "profile-missing"),
        ("15.6", 0, "No repository found.", "repository-missing"),
        ("16.0", 0, "agama-autoinstall: Skipping the auto-installation: not found", "profile-missing"),
        ("16.0", 0, "nestlab: the installation failed: grub2-mkconfig", "installation-failed"),
        ("15.6", 0, "Kernel panic - not syncing: VFS", "kernel-panic"),
        ("15.6", 0, "BdsDxe: No bootable option or device was found", "nothing-to-boot"),
        ("15.6", 1, "(XEN) Panic on CPU 0:", "xen-panic"),
        ("16.0", 1, "grub rescue>", "loader-rescue"),
        ("15.6", 1, "You are in emergency mode", "no-root"),
    ],
)
def test_a_failure_is_known_by_its_line(release: str, boot: int, line: str, cause: str) -> None:
    known = [each for phase in plan(release).boots[boot].phases for each in phase.causes]
    assert {each.name for each in known if re.search(each.pattern, line)} == {cause}


def test_a_host_without_an_entry_for_xen_is_told_first() -> None:
    line = "nestlab: the installation failed: no boot entry starts Xen"
    (packages,) = [phase for phase in plan().boots[0].phases if phase.name == "settings"]
    assert next(cause.name for cause in packages.causes if re.search(cause.pattern, line)) == "no-xen-entry"


def test_xen_is_started_by_default_and_the_quirks_say_what_is_special() -> None:
    names = {quirk.name for quirk in plan("16.0", 2, 1, firmware="uefi").quirks}
    assert names == {"xen-by-default", "agama-experimental", "card-names", "esp-copies"}
    assert {quirk.name for quirk in plan().quirks} == {"xen-by-default", "medium-starts-disk"}
    for release in NAMES:
        script = scripts_of(plan(release))["finish.sh"]
        assert "xen-gnulinux-simple-" in script and "grub2-set-default" in script


def test_the_id_of_xens_entry_is_found_in_grubs_menu(tmp_path: Path) -> None:
    """The line of our script that looks for it, on a menu as GRUB's 20_linux_xen writes it."""
    (line,) = [each for each in scripts_of(plan())["finish.sh"].splitlines() if each.startswith("entry=")]
    menu = tmp_path / "grub.cfg"
    menu.write_text(
        "menuentry 'Leap'  --class os $menuentry_id_option 'gnulinux-simple-1a-2b' {\n}\n"
        "menuentry 'Leap, mit Xen-Hypervisor' --class xen $menuentry_id_option 'xen-gnulinux-simple-1a-2b' {\n}\n"
        "submenu 'Weitere' $menuentry_id_option 'gnulinux-advanced-1a-2b' {\n"
        "\tmenuentry 'Xen 4.18' $menuentry_id_option 'xen-gnulinux-6.4-advanced-1a-2b' {\n}\n}\n"
    )
    done = subprocess.run(
        ["sh", "-c", f'config={menu}\n{line}\necho "$entry"'], check=True, capture_output=True, text=True
    )
    assert done.stdout == "xen-gnulinux-simple-1a-2b\n"


def test_what_the_installers_kernel_was_told_is_not_passed_on(tmp_path: Path) -> None:
    (line,) = [each for each in scripts_of(plan("16.0"))["finish.sh"].splitlines() if "GRUB_DEFAULT=/d" in each]
    grub = tmp_path / "grub"
    grub.write_text('GRUB_DEFAULT=0\nGRUB_CMDLINE_LINUX_DEFAULT="nestlab.hooks=http://10.0.2.2:9/ab quiet"\n'
                    'GRUB_CMDLINE_LINUX="quiet nestlab.hooks=http://10.0.2.2:9/ab"\n')  # fmt: skip
    subprocess.run(["sh", "-euc", line.replace("/etc/default/grub", str(grub))], check=True)
    assert grub.read_text() == 'GRUB_CMDLINE_LINUX_DEFAULT=" quiet"\nGRUB_CMDLINE_LINUX="quiet"\n'


@pytest.mark.parametrize("release", ["15.6", "16.0"])
def test_keys_of_the_volume_and_of_the_answers_both_let_root_in(release: str, tmp_path: Path) -> None:
    """The scripts themselves, on a tree in place of the new system. Agama writes its key before them, YaST after."""
    volume, target = tmp_path / "volume", tmp_path / "target"
    (volume / "seed/root/.ssh").mkdir(parents=True)
    (volume / "seed/root/.ssh/authorized_keys").write_text("ssh-rsa LAB\n")
    (target / "root/.ssh").mkdir(parents=True)
    keys = target / "root/.ssh/authorized_keys"
    scripts = scripts_of(plan(release))
    places = (
        ("/dev/disk/by-label/OEMDRV", volume),
        ("/tmp/nestlab-volume", volume),
        ("/dev/console", tmp_path / "tty"),
    )
    text = scripts["volume.sh"].replace("/mnt", str(target))
    for place, path in places:
        text = text.replace(place, str(path))
    if release == "16.0":
        keys.write_text("ssh-rsa ANSWERS\n")
    subprocess.run(["sh", "-c", f"mount() {{ :; }}\numount() {{ :; }}\n{text}"], check=True)
    if release == "15.6":
        keys.write_text("ssh-rsa ANSWERS\n")
    last = scripts["finish.sh"].split("# What came on the volume")[1].partition("\n")[2]
    subprocess.run(["sh", "-eu", "-c", last.replace("/root", f"{target}/root").replace("root:root", str(os.getuid()))],
                   check=True)  # fmt: skip
    assert keys.read_text() == "ssh-rsa ANSWERS\nssh-rsa LAB\n"
    assert sorted(path.name for path in keys.parent.iterdir()) == ["authorized_keys"]
    assert keys.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("name", [f"{release}-full" for release in NAMES])
def test_scripts_are_what_a_shell_reads(name: str) -> None:
    shells = {
        key: text for key, text in scripts_of(CASES[name].plan).items() if "python" not in text and "%d" not in text
    }
    assert len(shells) >= 8
    for key, text in shells.items():
        done = subprocess.run(["sh", "-n"], input=text, text=True, capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), key


LARGE = tuple(disk(f"disk{n}", size=3 * TIB, bus="sata") for n in range(2))
SMALL = (disk("disk0", size=8 * GIB, bus="sata"),)
REFUSED: tuple[tuple[str, str, dict[str, Any], str], ...] = (
    ("odd RAID10", "15.6", {"disks": 5, "level": 10}, "without its mirror"),
    ("msdos on large disks", "15.6", {"disks": LARGE, "install": {"label": "msdos"}}, "ends at 2 TiB"),
    ("msdos and UEFI", "16.0", {"firmware": "uefi", "install": {"label": "msdos"}}, "GPT disks only"),
    ("small disk", "15.6", {"disks": SMALL}, "leave 5109 MiB for /"),
    ("small root", "15.6", {"install": {"root_size": "2GiB"}}, "is too small"),
    ("large root", "15.6", {"install": {"root_size": "90GiB"}}, "92160 MiB are wanted"),
    ("extent", "15.6", {"install": {"extent": "3MiB"}}, "no power of two"),
    ("chunk", "16.0", {"install": {"chunk": "500KiB"}}, "no power of two"),
    ("array of data disks", "15.6", {"disks": 3, "raid": (RaidArray(name="d", level=1, disks=("disk1", "disk2")),)},
     "does not hold the first disk"),
    ("one of two disks", "15.6", {"disks": 2}, "depends on which one answers first .NLS074."),
    ("one of two disks, by Agama", "sles16", {"disks": 2}, "depends on which one answers first .NLS074."),
    ("unknown disk", "15.6", {"install": {"devices": {"disk9": "/dev/sdz"}}}, "names the disk 'disk9'"),
    ("no medium", "15.6", {"source": ImageSource()}, "installed from a medium"),
    ("no disk", "15.6", {"disks": ()}, "needs a disk"),
    ("dom0 memory", "15.6", {"xen": xen(dom0_memory=4 * GIB)}, "does not fit"),
    ("two users", "15.6", {"install": {"users": [{"name": "a"}, {"name": "a"}]}}, "two users are called a"),
    ("root as user", "16.0", {"install": {"users": [{"name": "root"}]}}, "no user of its own"),
    ("served without address", "15.6", {"install": {"delivery": "http"}}, "come together"),
    ("address without service", "15.6", {"install": {"delivery": "iso", "served_at": "http://x/"}}, "come together"),
    ("initrd of Agama", "16.0", {"install": {"delivery": "initrd"}}, "does not see the initrd"),
    ("cards of two models", "16.0", {"nics": (nic(1, model="virtio"),)}, "nobody can tell"),
    ("registration of Leap", "15.6", {"install": {"registration": {}}}, "is not registered"),
    ("modules of Leap", "15.6", {"install": {"modules": ["x"]}}, "medium has none"),
    ("service on and off", "15.6", {"install": {"services_on": ["a"], "services_off": ["a"]}}, "to be on and off"),
    ("our file", "15.6", {"install": {"files": [{"path": "/etc/xen/xl.conf", "file": text_file("x")}]}},
     "there already"),
    ("empty file", "15.6", {"install": {"files": [{"path": "/etc/x", "file": text_file("")}]}}, "is empty"),
    ("script of another system", "15.6", {"install": {"post": [{"file": text_file("a\r\n", "x.sh")}]}},
     r"x\.sh holds the line ends of another system"),
    ("control character", "16.0", {"install": {"post": [{"file": text_file("a\x1bb")}]}},
     "which the answers cannot carry"),
    ("gateway alone", "15.6", {"install": {"network": {"gateway": "192.0.2.1"}}}, "comes with an address"),
    ("gateway of another kind", "15.6", {"install": {"network": {"address": "192.0.2.9/24", "gateway": "fd00::1"}}},
     "of different versions"),
    ("gateway next door", "15.6", {"install": {"network": {"address": "192.0.2.9/24", "gateway": "198.51.100.1"}}},
     "NLS082"),
    ("bond of one", "15.6", {"install": {"network": {"bonds": [{"name": "bond0", "cards": [0]}]}}}, "fewer than two"),
    ("card that is not there", "16.0", {"install": {"network": {"bonds": [{"name": "bond0", "cards": [0, 1]}]}}},
     "takes card 1, and the last one is 0"),
    ("long bridge", "15.6", {"xen": xen(bridge="averylongbridge"), "install": {"network": {"vlan": 100}}},
     "longer than 15"),
    ("argument of GRUB's script", "15.6", {"kernel": KernelSettings(arguments=("a=#b",))}, "pass on bare"),
    ("4Kn and BIOS", "15.6", {"disks": (disk("disk0", size=60 * GIB, bus="sata", sector="4Kn"),)}, "NLS072"),
)  # fmt: skip


@pytest.mark.parametrize(("release", "changes", "why"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_what_cannot_work_is_refused(release: str, changes: dict[str, Any], why: str) -> None:
    drives = changes.get("disks", 1)
    rest = {key: value for key, value in changes.items() if key not in ("disks", "level")}
    node = suse_node(release, drives if isinstance(drives, int) else 1, changes.get("level"), **rest)
    if isinstance(drives, tuple):
        node = node.model_copy(update={"disks": drives})
    with pytest.raises(LabError, match=why) as caught:
        Suse().plan(node)
    assert caught.value.hint


def test_a_4kn_disk_is_fine_with_uefi_and_mixed_ones_are_told() -> None:
    disks = tuple(disk(f"disk{n}", size=60 * GIB, bus="sata", sector="4Kn" if n else "512n") for n in range(2))
    node = suse_node("15.6", 2, 1, firmware="uefi").model_copy(update={"disks": disks})
    assert [finding.code for finding in Suse().plan(node).findings] == ["NLS073", "NLS073"]


def test_a_users_template_stands_in_and_is_judged(tmp_path: Path) -> None:
    shipped = (data_dir("answerfiles") / "suse/autoinst.xml").read_text()
    mine = tmp_path / "suse/autoinst.xml"
    mine.parent.mkdir()
    mine.write_text(shipped.replace("<general>", "<!-- mine -->\n  <general>"))
    assert "<!-- mine -->" in Suse(tmp_path).plan(suse_node()).answers[0].content
    swapped = shipped.replace("dom0 | join", "X | join").replace("hypervisor | join", "dom0 | join")
    mine.write_text(swapped.replace("X | join", "hypervisor | join"))
    with pytest.raises(LabError, match=r"dom0_mem=2048M,max:2048M stands in <xen_append> .NLS030."):
        Suse(tmp_path).plan(suse_node())


def test_passwords_are_hashes_only() -> None:
    for good in (HASH, "$5$rounds=5000$salt$" + "b" * 43, "$y$j9T$salt$" + "a" * 43):
        assert SuseInstall.model_validate({"root_password": good})
    for bad in ("secret", "$1$salt$hash", "*", "!!", HASH + "\n"):
        with pytest.raises(ValidationError):
            SuseInstall.model_validate({"root_password": bad})


def test_the_row_names_the_releases_of_the_table() -> None:
    assert Suse.traits.releases == tuple(RELEASES) == NAMES


def test_settings_of_old_documents_are_explained() -> None:
    ours = {setting: row for system, setting, row in dead_settings() if system == "suse"}
    assert ours == DEAD
    assert {"xen2libvirt", "kernel-xen", "menu.lst", "xm/xend", "/lib/tls", "modprobe.conf.local"} <= set(ours)
    assert all(row.was and row.today and row.why and row.source for row in ours.values())
    assert set(CODES) <= set(codes())


def test_no_golden_file_is_left_over() -> None:
    assert {path.stem for path in (GOLDEN / "suse").iterdir()} == set(KEPT)


@pytest.mark.parametrize("name", KEPT)
def test_answers_are_what_they_were(name: str, golden: Callable[[str, str], None]) -> None:
    golden(f"suse/{name}{Path(CASES[name].plan.answers[0].name).suffix}", CASES[name].text)
