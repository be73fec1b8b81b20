"""What else is decided for a host that anaconda installs: how the answers get there, two boots, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from builder.errors import LabError, LabFileError
from builder.model.lab import ImageSource, KernelSettings, RaidArray
from builder.model.load import parse_lab
from builder.model.plan import SystemPlan
from builder.model.units import GIB, TIB
from builder.paths import data_dir
from builder.systems import traits
from builder.systems.rhel.options import RhelInstall
from builder.systems.rhel.releases import RELEASES
from builder.systems.rhel.system import Rhel
from tests.support.nodes import disk, nic
from tests.support.rhel import HANDLERS, HASH, kickstart, parsed, rhel_node, text_file


def plan(release: str = "el9", **changes: Any) -> SystemPlan:
    return Rhel().plan(rhel_node(release, **changes))


def installer(plan: SystemPlan) -> tuple[str, ...]:
    (edit,) = plan.media_edits
    assert (edit.kind, edit.layer) == ("arguments", "kernel")
    return edit.arguments


@pytest.mark.parametrize("release", HANDLERS)
def test_the_answers_get_to_the_installer(release: str) -> None:
    made = plan(release)
    (answer,) = made.answers
    if release == "el6":
        assert answer.delivery == "initrd" and "ks=file:/ks.cfg" in installer(made)
        assert not any(argument.startswith("inst.") for argument in installer(made))
    else:
        assert answer.delivery == "volume" and "inst.ks=hd:LABEL=OEMDRV:/ks.cfg" in installer(made)
        assert not {"ks", "text", "ksdevice"} & {argument.partition("=")[0] for argument in installer(made)}
    assert installer(made)[-2:] == ("console=tty0", "console=ttyS0,115200n8")


def test_other_ways_of_delivery() -> None:
    assert "inst.ks=file:/ks.cfg" in installer(plan(install={"delivery": "initrd"}))
    assert "ks=cdrom:/ks.cfg" in installer(plan("el6", install={"delivery": "iso"}))


def test_the_users_arguments_come_last_in_the_host_and_quirks_reach_both() -> None:
    made = plan(install={"quirks": ["x9scm-nic"]}, kernel=KernelSettings(arguments=("quiet", "console=tty1")))
    assert made.boot_args.kernel[-3:] == ("pcie_aspm=off", "quiet", "console=tty1")
    assert made.boot_args.hypervisor == ()
    assert "pcie_aspm=off" in installer(made)
    (quirk,) = made.quirks
    assert quirk.name == "x9scm-nic" and quirk.source.startswith("inferred")
    assert "pcie_aspm=off" not in plan().boot_args.kernel


@pytest.mark.parametrize("release", HANDLERS)
def test_two_boots_with_marks_that_the_kickstart_prints(release: str) -> None:
    made = plan(release)
    install, host = made.boots
    assert (install.medium, install.on_reboot, install.phases[-1].signal) == (True, "end", "power-off")
    assert (host.medium, host.phases[-1].signal) == (False, "ssh")
    printed = re.findall(r"^sh /tmp/nestlab-tell \w+ \S+ '([^']*)'", made.answers[0].content, re.MULTILINE)
    awaited = [phase.awaits.removeprefix("nestlab: ") for phase in install.phases if phase.awaits.startswith("nestlab")]
    assert [mark for mark in printed if "failed" not in mark] == awaited
    assert len(awaited) == (3 if release == "el6" else 4)
    for boot in made.boots:
        for phase in boot.phases:
            for cause in phase.causes:
                re.compile(cause.pattern)
    assert plan(release, install={"end": "reboot"}).boots[0].phases[-1].signal == "reboot"


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("GRUB2 does not support installation to a partition.", "loader-in-partition"),
        ("An error occurred during reading the kickstart file:", "kickstart-refused"),
        ("[   12.3] dracut-initqueue: Warning: Can't get kickstart from /dev/sr0:/ks.cfg", "kickstart-missing"),
        ("anaconda: failed to fetch kickstart from http://x", "kickstart-missing"),
        ("Rocky Linux requires 1070 MB of memory to install, but you only have 900 MB on this machine.",
         "memory-too-small"),
        ("nestlab: the installation failed", "installation-failed"),
        ("Kernel panic - not syncing: Attempted to kill init!", "kernel-panic"),
    ],
)  # fmt: skip
def test_a_failure_is_known_by_its_line(line: str, cause: str) -> None:
    causes = [each for phase in plan().boots[0].phases for each in phase.causes if re.search(each.pattern, line)]
    assert {each.name for each in causes} == {cause}


LARGE = tuple(disk(f"disk{n}", size=3 * TIB, bus="sata") for n in range(4))
SMALL = tuple(disk(f"disk{n}", size=6 * GIB, bus="sata") for n in range(4))
REFUSED: tuple[tuple[str, str, dict[str, Any], str], ...] = (
    ("odd RAID10", "el9", {"disks": 5}, "without its mirror"),
    ("GPT on release 6", "el6", {"install": {"label": "gpt"}}, "cannot be told to use GPT"),
    ("large disks on release 6", "el6", {"disks": LARGE}, "cannot be told to use GPT"),
    ("msdos on large disks", "el9", {"disks": LARGE, "install": {"label": "msdos"}}, "ends at 2 TiB"),
    ("msdos and UEFI", "el9", {"firmware": "uefi", "install": {"label": "msdos"}}, "GPT disks only"),
    ("small disks", "el9", {"disks": SMALL, "raid": (RaidArray(name="s", level=1, disks=("disk0", "disk1")),)},
     "leave 1021 MiB for /"),
    ("extent", "el9", {"install": {"extent": "65MiB"}}, "no power of two"),
    ("chunk", "el9", {"install": {"chunk": "500KiB"}}, "no power of two"),
    ("array of data disks", "el9", {"raid": (RaidArray(name="data", level=1, disks=("disk1", "disk2")),)},
     "does not hold the first disk"),
    ("one of two disks", "el9", {"disks": 2, "raid": ()}, "depends on which one answers first .NLK064."),
    ("4Kn in an array", "el9",
     {"disks": tuple(disk(f"disk{n}", bus="virtio", size=50 * GIB, sector="4Kn" if n else "512n") for n in range(4))},
     "NLK042"),
    ("unknown disk", "el9", {"install": {"devices": {"disk9": "/dev/sdz"}}}, "names the disk 'disk9'"),
    ("names nobody can tell", "el9",
     {"disks": (disk("disk0", bus="sata", size=50 * GIB), disk("disk1", bus="ide", size=50 * GIB)), "raid": ()},
     "depends on which one answers first .NLK064."),
    ("names nobody can tell, on an older kernel", "el7",
     {"disks": (disk("disk0", bus="sata", size=50 * GIB), disk("disk1", bus="ide", size=50 * GIB)), "raid": ()},
     "depends on which one answers first .NLK064."),
    ("no medium", "el9", {"source": ImageSource()}, "installed from a medium"),
    ("no disk", "el9", {"disks": (), "raid": ()}, "needs a disk"),
    ("volume for release 6", "el6", {"install": {"delivery": "volume"}}, "no kickstart from a volume"),
    ("timer on release 6", "el6", {"install": {"trim": "timer"}}, "no fstrim.timer"),
    ("stage of release 6", "el6", {"install": {"pre_install": [{"file": text_file("true\n")}]}}, "no such stage"),
    ("hash of release 7", "el7", {"install": {"root_password": "$y$j9T$salt$" + "a" * 43}}, r"\$y\$"),
    ("service on and off", "el9", {"install": {"services_on": ["a", "b"], "services_off": ["b"]}}, "b is to be on and"),
    ("two users", "el9", {"install": {"users": [{"name": "a"}, {"name": "a"}]}}, "two users are called a"),
    ("root as user", "el9", {"install": {"users": [{"name": "root"}]}}, "no user of its own"),
    ("bridge on release 6", "el6", {"install": {"network": {"bridges": [{"name": "br0", "card": 0}]}}}, "no bridges"),
    ("bridge on nothing", "el9", {"install": {"network": {"bridges": [{"name": "br0"}]}}}, "one card or on one bond"),
    ("bridge on no bond", "el9", {"install": {"network": {"bridges": [{"name": "br0", "bond": "bond1"}]}}},
     "that no other bridge has"),
    ("card that is not there", "el9", {"install": {"network": {"bonds": [{"name": "bond0", "cards": [0, 1]}]}}},
     "takes card 1, and the last one is 0"),
    ("card twice", "el9", {"nics": (nic(1),), "install": {"network": {
        "bonds": [{"name": "bond0", "cards": [0, 1]}, {"name": "bond1", "cards": [1, 0]}]}}},
     "is in bond0 and in bond1"),
    ("bond of one", "el9", {"install": {"network": {"bonds": [{"name": "bond0", "cards": [0]}]}}}, "fewer than two"),
    ("one name", "el9", {"nics": (nic(1), nic(2), nic(3)), "install": {"network": {
        "bonds": [{"name": "bond0", "cards": [0, 1]}, {"name": "bond0", "cards": [2, 3]}]}}},
     "two devices have one name"),
    ("addresses below a bond", "el9", {"nics": (nic(1), nic(2, addresses=("10.0.0.1/24",))), "install": {"network": {
        "bonds": [{"name": "bond0", "cards": [1, 2]}]}}}, "has some of its own"),
    ("mixed models by name", "el9", {"nics": (nic(1, model="virtio", trunk=(5,)),)}, "nobody can tell"),
    ("two addresses of a kind", "el9", {"nics": (nic(1, addresses=("10.0.0.1/24", "10.0.0.2/24")),)},
     "one IPv4 and one"),
    ("IPv6 gateway on release 6", "el6", {"install": {"network": {"address": "fd00::1/64", "gateway": "fd00::2"}}},
     "no IPv6 gateway"),
    ("gateway next door", "el9", {"install": {"network": {"address": "192.0.2.9/24", "gateway": "198.51.100.1"}}},
     "NLK082"),
)  # fmt: skip


@pytest.mark.parametrize(("release", "changes", "why"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_what_cannot_work_is_refused(release: str, changes: dict[str, Any], why: str) -> None:
    drives = changes.get("disks")
    values = {k: v for k, v in changes.items() if k != "disks"}
    node = rhel_node(release, drives if isinstance(drives, int) else 4, **values)
    if isinstance(drives, tuple):
        node = node.model_copy(update={"disks": drives})
    with pytest.raises(LabError, match=why) as caught:
        Rhel().plan(node)
    assert caught.value.hint


def test_mixed_controllers_are_fine_by_identity() -> None:
    disks = (disk("disk0", bus="sata", size=50 * GIB), disk("disk1", bus="ide", size=50 * GIB))
    node = rhel_node("el9", 1, None, install={"disk_names": "by-id"}).model_copy(update={"disks": disks})
    assert "--boot-drive=/dev/disk/by-id/ata-QEMU_HARDDISK_disk0" in kickstart(node)


def test_one_of_several_disks_is_fine_by_identity_and_with_older_kernels() -> None:
    by_id = {"disk_names": "by-id"}
    assert "/dev/disk/by-id/ata-QEMU_HARDDISK_disk0" in kickstart(rhel_node("el10", 3, None, install=by_id))
    assert "--boot-drive=sda" in kickstart(rhel_node("el8", 3, None))
    assert "--boot-drive=vda" in kickstart(rhel_node("el10", 3, None, bus="virtio"))


def test_large_disks_get_gpt_by_themselves() -> None:
    node = rhel_node("el10").model_copy(update={"disks": LARGE})
    handler, _ = parsed(kickstart(node), "el10")
    assert handler.clearpart.disklabel == "gpt"
    assert sum(part.mountpoint == "biosboot" for part in handler.partition.partitions) == 4


def test_a_users_template_stands_in_and_is_judged(tmp_path: Path) -> None:
    shipped = (data_dir("kickstarts") / "rhel/ks.cfg").read_text()
    mine = tmp_path / "rhel/ks.cfg"
    mine.parent.mkdir()
    mine.write_text(shipped.replace("skipx\n", "skipx\n# mine\n"))
    assert "# mine\n" in Rhel(tmp_path).plan(rhel_node("el9")).answers[0].content
    mine.write_text(shipped.replace("{{ timezone }}\n", ""))
    with pytest.raises(LabError, match=r"the installer would ask for the time zone .NLK070."):
        Rhel(tmp_path).plan(rhel_node("el9"))


HOSTILE = (
    "x\n%pre\nid\n%end", "x\r\nrootpw secret", "a b", 'a"b', "a'b", "a;b", "a#b", "a`id`b", "$(id)", "a\\b", "a\0b",
    "]]>",
    "--iscrypted", "%end", "\u202eabc", "é", "a\tb", "", " ", "x" * 5000,
)  # fmt: skip
FIELDS: tuple[tuple[str, Any], ...] = (
    ("language", lambda v: {"language": v}), ("keyboard", lambda v: {"keyboard": v}),
    ("timezone", lambda v: {"timezone": v}), ("ntp", lambda v: {"ntp": [v]}), ("hostname", lambda v: {"hostname": v}),
    ("url", lambda v: {"url": v}), ("repository", lambda v: {"repositories": [{"name": v, "url": "http://x"}]}),
    ("repository url", lambda v: {"repositories": [{"name": "x", "url": v}]}),
    ("volume group", lambda v: {"volume_group": v}), ("root password", lambda v: {"root_password": v}),
    ("key", lambda v: {"root_keys": [v]}), ("package", lambda v: {"packages": [v]}),
    ("service", lambda v: {"services_on": [v]}), ("user", lambda v: {"users": [{"name": v}]}),
    ("group", lambda v: {"users": [{"name": "x", "groups": [v]}]}), ("device", lambda v: {"devices": {"disk0": v}}),
    ("interpreter", lambda v: {"post": [{"file": text_file("true"), "interpreter": v}]}),
    ("bond", lambda v: {"network": {"bonds": [{"name": v, "cards": [0, 1]}]}}),
    ("bond option", lambda v: {"network": {"bonds": [{"name": "bond0", "cards": [0, 1], "options": [v]}]}}),
    ("name server", lambda v: {"network": {"nameservers": [v]}}), ("gateway", lambda v: {"network": {"gateway": v}}),
)  # fmt: skip


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("field", FIELDS, ids=[name for name, _ in FIELDS])
def test_hostile_text_is_refused_or_inert(field: tuple[str, Any], value: str) -> None:
    """What the type lets through reads back as one value of pykickstart: no more scripts, no other root password."""
    try:
        RhelInstall.model_validate(field[1](value))
    except ValidationError:
        return
    node = rhel_node("el9", nics=(nic(1),), install=field[1](value))
    handler, _ = parsed(kickstart(node), "el9")
    plain, _ = parsed(kickstart(rhel_node("el9")), "el9")
    assert len(handler.scripts) == len(plain.scripts) + (field[0] == "interpreter")
    assert handler.rootpw.password == "*"


def test_keys_may_have_any_comment() -> None:
    key = "ssh-rsa " + "A" * 60 + ' O\'Neil; $(rm) `id` "x" \\ # %end'
    for release in HANDLERS:
        text = kickstart(rhel_node(release, install={"root_keys": [key], "users": [{"name": "a", "keys": [key]}]}))
        handler, _ = parsed(text, release)
        if release not in ("el6", "el7"):
            assert [each.key for each in handler.sshkey.sshUserList] == [key, key]
        assert handler.rootpw.password == "*"


@pytest.mark.parametrize("line", ["%end", "  %end # x", "%post", "%include /etc/passwd", "%ksappend http://x/y"])
def test_a_script_cannot_leave_its_section(line: str) -> None:
    node = rhel_node("el9", install={"post": [{"file": text_file(f"true\n{line}\nrootpw x\n", "mine.sh")}]})
    with pytest.raises(LabError, match=r"line 2 of mine\.sh would be read as part of the kickstart"):
        Rhel().plan(node)


def test_a_script_may_hold_percent_signs() -> None:
    body = "printf '%s\\n' x\n%else\n%files\n"
    handler, _ = parsed(kickstart(rhel_node("el9", install={"post": [{"file": text_file(body)}]})), "el9")
    assert any(script.script == body for script in handler.scripts)


def test_passwords_are_hashes_only() -> None:
    for good in (HASH, "$5$rounds=5000$salt$" + "b" * 43, "$y$j9T$salt$" + "a" * 43):
        assert RhelInstall.model_validate({"root_password": good})
    for bad in ("secret", "$1$salt$hash", "*", "!!", HASH + "\n"):
        with pytest.raises(ValidationError):
            RhelInstall.model_validate({"root_password": bad})


def test_the_row_names_the_releases_of_the_table() -> None:
    assert Rhel.traits.releases == tuple(RELEASES) and set(RELEASES) == set(HANDLERS)


@pytest.mark.parametrize(
    ("release", "memory", "disk"),
    [
        ("el6", 1, 10),
        ("el7", 1, 10),
        ("el8", 1.5, 10),
        ("el9", 1.5, 10),
        ("el10", 1.5, 10),
        ("f44", 2, 15),
        ("f45", 2, 15),
    ],
)
def test_each_release_has_its_own_least(release: str, memory: float, disk: int) -> None:
    """As Red Hat's and Fedora's pages say for an installation from a medium."""
    head = f"name: t\nnodes:\n  a: {{system: rhel, release: {release}, source: {{medium: x.iso}}, "
    enough = f"{head}memory: {int(memory * 1024)}MiB, disks: [{{size: {disk}GiB}}]}}\n"
    assert parse_lab(enough.encode(), traits()).lab.nodes[0].memory == memory * GIB
    little = f"{head}memory: {int(memory * 1024) - 1}MiB, disks: [{{size: {disk * 1024 - 1}MiB}}]}}\n"
    with pytest.raises(LabFileError) as refused:
        parse_lab(little.encode(), traits())
    found = refused.value.problems
    assert [problem.code for problem in found] == ["lab-memory-minimum", "lab-disk-minimum"]
    assert all("osinfo-db" in problem.hint for problem in found)


def test_six_disks_need_a_bus_that_carries_them_and_the_kernel_knows() -> None:
    text = (
        "name: t\nnodes:\n  a: {{system: rhel, source: {{medium: x.iso}}, disks: [{disks}], "
        "raid: [{{name: s, level: 10, disks: [disk0, disk1, disk2, disk3, disk4, disk5]}}]}}\n"
    )
    with pytest.raises(LabFileError) as refused:
        parse_lab(text.format(disks=", ".join(["{size: 20GiB}"] * 6)).encode(), traits())
    (problem,) = refused.value.problems
    assert problem.code == "lab-bus-full" and problem.hint.endswith("such as bus: virtio")
    (node,) = parse_lab(text.format(disks=", ".join(["{size: 20GiB, bus: virtio}"] * 6)).encode(), traits()).lab.nodes
    assert "RAID10 over 6 disks" in Rhel().plan(node).answers[0].content
