"""The script that installs a NetBSD host, run by dash and by bash as POSIX shells, on stand-ins for NetBSD's tools."""

from __future__ import annotations

import re
import stat
import subprocess
from pathlib import Path

import pytest

from tests.support.netbsd import CASES, Case, netbsd_node
from tests.support.netbsd_medium import SECTORS, Rig, Run

pytestmark = pytest.mark.integration

SHELLS = (("dash",), ("bash", "--posix"))
MARKS = [
    "nestlab: the installer has started", "nestlab: the medium is complete", "nestlab: the disks are ready",
    "nestlab: the sets are unpacked", "nestlab: the packages are installed", "nestlab: the boot blocks are written",
    "nestlab: the host is installed",
]  # fmt: skip
# Calls that may fail: what they look for need not be there.
MAY_FAIL = re.compile(
    r"sync |shutdown |sleep |dkctl \S+ listwedges|raidctl -s |mount -t cd9660|chroot \S+ /sbin/rndctl"
)
# What a pipe or a comparison has started already when its other half fails.
READING = re.compile(r"tar |sed |cat |gzip -dc|disklabel \w+$|dkctl \w+ listwedges|chroot target /usr/sbin/pkg_info ")


def rig(tmp_path: Path, case: str | Case = "bus-ide", **changes: object) -> Rig:
    plan = (CASES[case] if isinstance(case, str) else case).plan
    return Rig(tmp_path / "rig", plan, **changes)  # type: ignore[arg-type]  # fields of the rig


def verbs(run: Run) -> list[str]:
    return [call.split()[0] for call in run.calls]


def touched(run: Run) -> list[str]:
    """Calls that write to a disk."""
    return [call for call in run.calls if call.startswith(("dd ", "fdisk ", "disklabel -R", "newfs ", "installboot "))]


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_every_script_is_read_by_posix_shells_and_shellcheck(case: Case, tmp_path: Path) -> None:
    script = tmp_path / "install.sh"
    script.write_text(case.script)
    for shell in (["dash", "-n"], ["busybox", "sh", "-n"], ["bash", "--posix", "-n"]):
        subprocess.run([*shell, str(script)], check=True)
    # SC2016 is about the crypt hash, which stands between single quotes with its dollars on purpose.
    subprocess.run(["shellcheck", "--shell=sh", "--exclude=SC2016", str(script)], check=True)


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_one_disk(shell: tuple[str, ...], tmp_path: Path) -> None:
    run = rig(tmp_path).run(shell)
    assert (run.said, run.errors) == (MARKS, "")
    assert run.calls[-3:] == ["sync ", "shutdown -p now", "sleep 60"]
    assert touched(run) == [
        "dd if=/dev/zero of=/dev/rwd0d bs=1048576 count=4",
        f"dd if=/dev/zero of=/dev/rwd0d bs=512 count=2048 seek={SECTORS - 2048}",
        f"fdisk -f -i -u -0 -a -s 169/2048/{SECTORS - 2048} /dev/rwd0d",
        "fdisk -f -i -c medium/usr/mdec/mbr /dev/rwd0d",
        "disklabel -R -r wd0 work/label.wd0",
        "newfs -O 2 /dev/rwd0a",
        "installboot -v -o timeout=5,console=com0,speed=115200 /dev/rwd0a medium/usr/mdec/bootxx_ffsv2",
    ]
    assert "raidctl -C" not in "\n".join(run.calls)
    assert not any("wd1" in call for call in touched(run))


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_a_mirror(shell: tuple[str, ...], tmp_path: Path) -> None:
    run = rig(tmp_path, "bus-ide-raid1").run(shell)
    assert run.said == MARKS
    order = [call for call in run.calls if call.startswith(("raidctl -", "newfs", "installboot", "mount -o"))]
    assert [call.split()[:3] for call in order if not call.startswith("raidctl -s")] == [
        ["raidctl", "-C", "medium/nestlab/host/etc/raid0.conf"], ["raidctl", "-I", "29266904"],
        ["raidctl", "-i", "raid0"], ["raidctl", "-A", "softroot"], ["newfs", "-O", "2"], ["mount", "-o", "async"],
        ["installboot", "-v", "-o"], ["installboot", "-v", "-o"],
    ]  # fmt: skip
    assert [call.split()[-2] for call in order if call.startswith("installboot")] == ["/dev/rwd0a", "/dev/rwd1a"]
    assert "newfs -O 2 /dev/rraid0a" in order
    assert (run.target / "etc/raid0.conf").read_text().count("/dev/wd") == 2
    for disk in ("wd0", "wd1"):
        assert partitions(run.labels[disk])["a"] == (SECTORS - 2048, 2048, "RAID")
        assert f"fdisk -f -i -c medium/usr/mdec/mbr /dev/r{disk}d" in run.calls


def partitions(label: str) -> dict[str, tuple[int, int, str]]:
    """(size, offset, kind) of every partition."""
    found = re.findall(r"^([a-h]): (\d+) (\d+) (\S+)", label, re.MULTILINE)
    return {letter: (int(size), int(offset), kind) for letter, size, offset, kind in found}


@pytest.mark.parametrize(("case", "disk", "first"), [("bus-ide", "wd0", 2048), ("bus-ide-raid1", "raid0", 0)])
def test_labels_leave_no_gap_and_no_overlap(case: str, disk: str, first: int, tmp_path: Path) -> None:
    label = rig(tmp_path, case).run().labels[disk]
    made = partitions(label)
    assert {letter: kind for letter, (_, _, kind) in made.items()} == {
        "a": "4.2BSD", "b": "swap", "c": "unused", "d": "unused",
    }  # fmt: skip
    assert made["a"][1] == first
    assert made["a"][0] + made["a"][1] == made["b"][1]
    assert made["b"][0] + made["b"][1] == SECTORS
    assert made["b"][0] == 2097152  # 1 GiB
    assert made["c"][0] + made["c"][1] == SECTORS and made["d"][:2] == (SECTORS, 0)
    assert f"total sectors: {SECTORS}\n" in label and "\n8 partitions:\n" in label


def test_what_is_in_the_host_afterwards(tmp_path: Path) -> None:
    case = CASES["full"]
    case = Case(case.node.model_copy(update={"install": {**case.node.install, "end": "poweroff"}}))
    environment = {"XEN": "420", "DISKS": "cd0 sd0 sd1"}
    run = rig(tmp_path, case, environment=environment).run()
    assert run.said == MARKS
    for path, content in case.files.items():
        assert (run.target / path.lstrip("/")).read_text() == content
    assert stat.S_IMODE((run.target / "root/.ssh/authorized_keys").stat().st_mode) == 0o600
    assert stat.S_IMODE((run.target / "root/.ssh").stat().st_mode) == 0o700
    assert (run.target / "etc/ssh/sshd_config").read_text() == "PermitRootLogin prohibit-password\nUsePAM yes\n"
    assert (run.target / "etc/localtime").readlink() == Path("/usr/share/zoneinfo/Europe/Paris")
    assert stat.S_IMODE((run.target / "etc/rc.d/xencommons").stat().st_mode) == 0o555
    for name in ("netbsd", "netbsd.ok", "xen.gz", "xen.ok", "boot", "netbsd-XEN3_DOM0.gz", "netbsd-XEN3_DOM0.ok"):
        assert (run.target / name).is_file()
    # Every kernel that the menu names is there, but for those that the loader finds by itself.
    named = re.findall(r"(?:load|multiboot) /(\S+)|boot (netbsd\S*)", case.files["/boot.cfg"])
    assert named and all((run.target / (first or second)).is_file() for first, second in named)
    assert (run.target / "kern").is_dir() and (run.target / "usr/share/man").is_file()
    calls = "\n".join(run.calls)
    assert "ifconfig wm0 inet 192.0.2.10 netmask 255.255.255.0 up\nroute add default 192.0.2.1\n" in calls
    assert "PKG_PATH=http://192.0.2.9/packages/All /usr/sbin/pkg_add xenkernel420 xentools420" in calls
    assert "MAKEDEV all xen vnd4 vnd5" in calls and "vnd23" in calls and "vnd24" not in calls
    assert not (run.target / "var/tmp/nestlab-packages").exists()


def test_the_ends(tmp_path: Path) -> None:
    again = rig(tmp_path, "reboot").run()
    assert again.calls[-2:] == ["shutdown -r now", "sleep 60"]
    failed = rig(tmp_path, "shell", environment={"DISKS": "cd0"}).run()
    assert failed.failed == "look at the machine"
    assert failed.said[-1] == "nestlab: waiting: this is a shell on the console"
    assert failed.calls[-2:] == ["sync ", "sh "] and "shutdown" not in verbs(failed)


def test_started_again_it_does_not_install_again(tmp_path: Path) -> None:
    machine = rig(tmp_path)
    first = machine.run()
    second = machine.run(again=True)
    assert second.said[-2:] == [
        "nestlab: this script has run before; it does not install twice",
        "nestlab: waiting: this is a shell on the console",
    ]
    assert touched(second) == touched(first) != []


@pytest.mark.parametrize("case", ["bus-ide-raid1", "full"])
def test_every_call_may_fail_and_then_nothing_more_is_done(case: str, tmp_path: Path) -> None:
    """Each call of a good run fails once, in a run of its own: the step is named, nothing is done after it, and the
    machine is switched off (or left with a shell, as one of these cases wants it)."""
    environment = {"XEN": "420"} if case == "full" else {}
    good = rig(tmp_path, case, environment=environment).run()
    assert good.failed is None
    calls = [call for call in dict.fromkeys(good.calls) if not MAY_FAIL.match(call)]
    assert len(calls) > 40
    for call in calls:
        pattern = re.sub(r"([\\*?\[\]()|&;<>'\"$`{} ])", r"\\\1", call)
        pattern = re.sub(r"(?<![A-Za-z/])(medium|target|work)(?=/|\\ |$)", r"*\1", pattern)
        bad = rig(tmp_path, case, environment=environment).run(fail=pattern)
        if call == "mkdir work":
            assert "does not install twice" in bad.said[-2]
            continue
        assert bad.failed is not None, f"{call}: {bad.said}"
        assert MARKS[-1] not in bad.marks
        after = bad.calls[max(number for number, each in enumerate(bad.calls) if each == call) + 1 :]
        allowed = ["sync ", "sh "] if case == "full" else ["sync ", "shutdown -p now", "sleep 60"]
        assert [each for each in after if not READING.match(each)] == allowed, f"{call}: {after}"


WRONG_PAIRS = (
    ("xenkernel418-20260911.tgz", "xentools418-20250701.tgz"),
    ("xenkernel418-20260911.tgz",),
    ("xentools418-20260911.tgz",),
    (),
    ("xenkernel418-20260911.tgz", "xenkernel418-20250701.tgz", "xentools418-20260911.tgz"),
    ("xenkernel420-20260911.tgz", "xentools420-20260911.tgz"),
)


@pytest.mark.parametrize("packages", WRONG_PAIRS, ids=lambda names: "+".join(names) or "none")
def test_a_pair_that_does_not_match_is_refused_before_a_disk_is_touched(
    packages: tuple[str, ...], tmp_path: Path
) -> None:
    run = rig(tmp_path, packages=packages).run()
    assert run.failed == "look at the medium" and "do not match" in run.said[-1]
    assert touched(run) == [] and run.calls[-2:] == ["shutdown -p now", "sleep 60"]


def test_a_pair_from_the_network_is_checked_before_the_host_can_start(tmp_path: Path) -> None:
    run = rig(tmp_path, "packages-by-name", environment={"TOOLS_VERSION": "20250701"}).run()
    assert run.failed == "install the packages"
    assert run.said[-1].endswith("do not match: xenkernel418-20260911, xentools418-20250701")
    assert "installboot" not in verbs(run)
    good = rig(tmp_path, "packages-by-name").run()
    assert good.failed is None and "dhcpcd -1 -t 90 wm0" in good.calls


@pytest.mark.parametrize("missing", ["base", "etc", "kern-GENERIC", "modules", "netbsd-XEN3_DOM0"])
def test_a_medium_that_lacks_something_is_refused_before_a_disk_is_touched(missing: str, tmp_path: Path) -> None:
    run = rig(tmp_path, without=(missing,)).run()
    assert run.failed == "look at the medium" and missing in run.said[-1] and touched(run) == []


def test_a_broken_set_ends_the_installation(tmp_path: Path) -> None:
    machine = rig(tmp_path)
    machine.run()
    base = tmp_path / "rig/medium/amd64/binary/sets/base.tar.xz"
    whole = base.read_bytes()
    for damaged in (whole[:-12], whole[: len(whole) // 2], b"no archive at all"):
        base.write_bytes(damaged)
        for path in ("work", "target"):
            subprocess.run(["rm", "-rf", str(tmp_path / "rig" / path)], check=True)
        (tmp_path / "rig/target").mkdir()
        run = machine.run(again=True)
        assert run.failed == "unpack the sets", run.said
        assert "the set base" in "".join(run.marks)


@pytest.mark.parametrize("size", ["", "many", "12 34"])
def test_a_disk_without_a_size_is_not_written_to(size: str, tmp_path: Path) -> None:
    run = rig(tmp_path, environment={"SECTORS": size}).run()
    assert run.failed == "prepare the disks" and touched(run) == []


def test_what_was_on_the_disks_is_let_go_first(tmp_path: Path) -> None:
    run = rig(tmp_path, environment={"CONFIGURED": "raid0", "WEDGES": "yes"}).run()
    assert run.said == MARKS
    order = [call for call in run.calls if call.startswith(("raidctl -u", "dkctl wd0 delwedge", "dd "))]
    assert order[:4] == [
        "raidctl -u raid0", "dkctl wd0 delwedge dk0", "dkctl wd0 delwedge dk3",
        "dd if=/dev/zero of=/dev/rwd0d bs=1048576 count=4",
    ]  # fmt: skip


def test_files_of_this_host_alone_come_on_a_volume(tmp_path: Path) -> None:
    seed = {"root/.ssh/authorized_keys": "ssh-ed25519 AAAA lab\n", "etc/ssh/ssh_host_ed25519_key": "key\n"}
    run = rig(tmp_path, volume=seed).run()
    assert run.said == MARKS
    for name, content in seed.items():
        assert (run.target / name).read_text() == content
        assert stat.S_IMODE((run.target / name).stat().st_mode) == 0o600
    tried = [call.split()[5] for call in run.calls if call.startswith("mount -t cd9660")]
    assert tried == ["/dev/cd0a", "/dev/cd1a", "/dev/wd1d", "/dev/sd0d", "/dev/sd1d"]


def test_a_host_without_its_rc_scripts_is_not_called_installed(tmp_path: Path) -> None:
    """The hypervisor without xencommons would start a dom0 that can do nothing."""
    machine = rig(tmp_path, Case(netbsd_node(bus="ide")), environment={"XEN": "999"})
    run = machine.run()
    assert run.failed == "install the packages" and "xen.gz" in run.said[-1]
