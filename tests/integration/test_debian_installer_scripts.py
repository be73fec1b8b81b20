"""Our scripts in the Debian installer, in the shell of its initrd, and what becomes of the host's files. None of it
installs anything."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from builder.model.plan import File
from builder.systems import load_system
from builder.systems.causes import find_cause
from builder.systems.debian.planning import ONCE
from tests.support.debian import CASES, RELEASES
from tests.support.grub import KERNEL, command, default_entry, grub_complains, grub_mkconfig, host_tree
from tests.support.installer import components, fresh, in_initrd, initrd, stubbed, told

pytestmark = pytest.mark.integration


@pytest.fixture(scope="session")
def trees(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {release: initrd(release, tmp_path_factory.mktemp("initrd") / release) for release in RELEASES}


_HOOKS = {
    "partman/early_command": (
        "/lib/partman/finish.d/99nestlab", "/usr/lib/base-installer.d/00nestlab", "/usr/lib/pre-pkgsel.d/00nestlab"
    ),
    "preseed/late_command": ("/usr/lib/finish-install.d/11nestlab",),
}  # fmt: skip
"""What the installer runs behind a command."""


@pytest.mark.parametrize("name", ["12-bios-lvm", "13-bios-plain", "13-uefi-raid10x4", "13-full", "12-xen"])
def test_the_scripts_run_in_the_installers_shell(name: str, trees: dict[str, Path], tmp_path: Path) -> None:
    """All of them, in their order, in the initrd: every file lands in /target with its bits, every mark is told."""
    case = CASES[name]
    tree = fresh(trees[case.release], case, tmp_path)
    for folder in ("root", "boot/efi/EFI/BOOT", "etc/sudoers.d", "home/alice", "home/bob"):
        (tree / "target" / folder).mkdir(parents=True)
    (tree / "target/boot/efi/EFI/BOOT/BOOTX64.EFI").write_text("loader")
    # a link that leads nowhere outside of the new system, as Debian 13 has one (its chown -R fails on it)
    (tree / "target/etc/ssh/ssh_config.d").mkdir(parents=True)
    (tree / "target/etc/ssh/ssh_config.d/proxy.conf").symlink_to("/usr/lib/not-in-the-installer")
    (tree / "target/boot/xen-4.20-amd64.efi").write_text("")
    stubbed(tree, ["in-target", "chroot", "modprobe", "update-dev", "mount", "umount"])
    marks = []
    for command_name in ("preseed/early_command", "partman/early_command", "preseed/late_command"):
        done = in_initrd(tree, case.values[command_name])
        assert (done.returncode, done.stderr) == (0, ""), command_name
        marks += told(tree)
        for hook in _HOOKS.get(command_name, ()):
            assert in_initrd(tree, hook).returncode == 0
            marks += told(tree)
            if "base-installer" in hook:
                assert all(in_initrd(tree, f"/target{program}").returncode == 0 for program in ONCE)
    awaited = [phase.awaits.removeprefix("nestlab: ") for phase in case.plan.boots[0].phases]
    assert marks == [mark for mark in awaited if mark and "Linux" not in mark and not mark.startswith("step ")]
    for file in (path for path in case.answers if path.startswith("nestlab/files/")):
        put = tree / "target" / file.removeprefix("nestlab/files/")
        assert put.read_text() == case.answers[file]
        assert put.stat().st_mode & 0o777 == (0o755 if file.endswith("lib/nestlab/network") else 0o644)
    calls = (tree / "tmp/calls").read_text().splitlines()
    assert "in-target sh -c update-initramfs -c -k all && update-grub" in calls
    diverted = [line.partition(" --rename ")[2] for line in calls if " dpkg-divert " in line]
    assert diverted == [f"{way} {program}" for way in ("--add", "--remove") for program in ONCE]
    assert (tree / "var/run/console-devices").read_text() == ""
    assert not (tree / "usr/lib/finish-install.d/08hw-detect").exists()
    assert not any((tree / "target" / program.lstrip("/")).exists() for program in ONCE)
    assert (tree / "target/etc/dpkg/dpkg.cfg.d/force-unsafe-io").read_text() == "force-unsafe-io\n"
    assert not (tree / "target/boot/xen-4.20-amd64.efi").exists()
    assert (tree / "target/etc/network/interfaces").read_text() == "auto lo\niface lo inet loopback\n"
    if name == "13-full":
        keys = tree / "target/root/.ssh/authorized_keys"
        assert keys.read_text().startswith("ssh-ed25519 ") and keys.stat().st_mode & 0o777 == 0o600
        assert (tree / "target/etc/sudoers.d/nestlab-alice").stat().st_mode & 0o777 == 0o440
        assert "in-target /root/nestlab-late-1" in calls and not (tree / "target/root/nestlab-late-1").exists()
    if name == "13-uefi-raid10x4":
        assert (tree / "tmp/nestlab-efi/EFI/BOOT/BOOTX64.EFI").read_text() == "loader"
        assert [line for line in calls if line.startswith("mount -t vfat")] == [
            f"mount -t vfat /dev/sd{letter}1 /tmp/nestlab-efi" for letter in "bcd"
        ]


def test_answers_are_read_once_although_the_installer_looks_twice(trees: dict[str, Path], tmp_path: Path) -> None:
    tree = fresh(trees["13"], CASES["13-full"], tmp_path)
    first, second = (in_initrd(tree, "sh /nestlab/early.sh") for _ in range(2))
    assert (first.stdout, second.stdout, second.returncode) == ("early\n", "", 0)


def test_a_script_that_fails_is_told_on_the_console(trees: dict[str, Path], tmp_path: Path) -> None:
    tree = fresh(trees["13"], CASES["13-bios-lvm"], tmp_path)
    (tree / "nestlab/files/etc/xen/xl.conf").unlink()
    assert in_initrd(tree, "sh /nestlab/late.sh").returncode != 0
    assert told(tree) == ["the installation failed"]
    assert in_initrd(tree, "sh /nestlab/last.sh").returncode == 10, "back to the installer's menu"
    assert told(tree) == []


def test_an_initrd_that_cannot_be_made_brings_back_the_menu(trees: dict[str, Path], tmp_path: Path) -> None:
    tree = fresh(trees["13"], CASES["13-bios-lvm"], tmp_path)
    stubbed(tree, ["chroot"])
    (tree / "tmp/nestlab-late").touch()
    assert in_initrd(tree, "sh /nestlab/last.sh").returncode == 10
    assert told(tree) == ["the installation failed"]


def test_the_initrd_is_made_once_behind_the_installers_last_packages(trees: dict[str, Path], tmp_path: Path) -> None:
    """finish-install runs what is in its folder by name: ours comes behind the steps that call update-initramfs."""
    tree = fresh(trees["13"], CASES["13-bios-lvm"], tmp_path)
    assert in_initrd(tree, CASES["13-bios-lvm"].values["preseed/early_command"]).returncode == 0
    folder = components("13") / "finish-install/usr/lib/finish-install.d"
    steps = sorted({*(path.name for path in folder.iterdir()), "11nestlab"})
    assert (tree / "usr/lib/finish-install.d/11nestlab").stat().st_mode & 0o777 == 0o755
    assert steps.index("10update-initramfs") < steps.index("11nestlab") < steps.index("20final-message")


@pytest.mark.parametrize("name", ["13-bios-lvm", "13-by-id", "13-uefi-raid10x4"])
def test_a_disk_that_is_not_there_is_told_before_partman_goes_on_without_it(
    name: str, trees: dict[str, Path], tmp_path: Path
) -> None:
    tree = fresh(trees[CASES[name].release], CASES[name], tmp_path)
    stubbed(tree, ["update-dev"])
    missing = CASES[name].values["partman-auto/disk"].split()[-1]
    (tree / missing.removeprefix("/")).unlink()
    for command_name, ends in (("preseed/early_command", 0), ("partman/early_command", 1)):
        assert in_initrd(tree, CASES[name].values[command_name]).returncode == ends
    marks = told(tree)
    assert marks[-1] == f"there is no disk {missing}"
    cause = find_cause(CASES[name].plan.boots[0].phases[4].causes, f"nestlab: {marks[-1]}")
    assert cause is not None and cause.name == "disk-missing"


@pytest.mark.parametrize("name", ["12-bios-lvm", "13-full", "13-uefi-raid10x4", "13-url", "12-bios-plain"])
def test_scripts_are_clean(name: str, tmp_path: Path) -> None:
    for script in ("early", "partman", "late", "last"):
        (tmp_path / script).write_text(CASES[name].answers[f"nestlab/{script}.sh"])
        done = subprocess.run(
            ["shellcheck", "-s", "sh", tmp_path / script], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("name", ["12-bios-lvm", "13-bios-lvm", "12-xen", "13-xen"])
def test_the_installed_hosts_default_entry_is_xen_with_the_arguments_of_the_plan(name: str, tmp_path: Path) -> None:
    """The dom0's files over a tree of the release; the root is whatever grub-mkconfig finds, not an image's label."""
    case = CASES[name]
    files = [
        File(path=path.removeprefix("nestlab/files"), content=text)
        for path, text in case.answers.items() if path.startswith("nestlab/files/")
    ]  # fmt: skip
    arguments = load_system("debian").plan(case.node).boot_args
    written = grub_mkconfig(host_tree(tmp_path / "tree", case.release, files))
    assert grub_complains(written.config) == ""
    entry = default_entry(written.config)
    version = {"12": "4.17", "13": "4.20"}[case.release]
    hypervisor = command(entry, "multiboot2", f"/boot/xen-{version}-amd64.gz")
    assert hypervisor == ["placeholder", *arguments.hypervisor, "${xen_rm_opts}"]
    kernel = command(entry, "module2", f"/boot/vmlinuz-{KERNEL}")
    assert kernel[0] == "placeholder" and kernel[1].startswith("root=") and "nestlab-root" not in kernel[1]
    assert kernel[2:] == ["ro", *arguments.kernel]
