"""Debian's boot configuration, judged by the releases' own grub-mkconfig and by grub-script-check."""

from __future__ import annotations

import string
from pathlib import Path

import pytest

from builder.model.lab import KernelSettings, Node
from builder.model.plan import Recipe
from builder.systems import load_system
from tests.support.grub import KERNEL, command, default_entry, grub_complains, grub_mkconfig, host_tree
from tests.support.nodes import debian_node, xen

pytestmark = pytest.mark.integration

RELEASES = ("12", "13")
# Every character that a lab file lets through in an argument.
ALLOWED = "".join(c for c in string.printable if not c.isspace() and c not in "\"'`$\\;|&<>")

EVERYTHING = {
    "xen": xen(
        dom0_vcpus_pin=True, loglvl="all", guest_loglvl="all/warning", noreboot=True, console="com1,vga",
        pciback_hide=("03:00.0", "04:00.1"), arguments=("ucode=scan", f"odd={ALLOWED}", "#x", "{y}", "dom0=verbose"),
    ),
    "kernel": KernelSettings(arguments=("console=tty0", f"odd={ALLOWED}", "#x", "{y}", "quiet")),
}  # fmt: skip


def recipe(node: Node) -> Recipe:
    made = load_system("debian").plan(node).recipe
    assert made is not None
    return made


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("changes", [{}, EVERYTHING], ids=["defaults", "everything"])
@pytest.mark.parametrize("stock", [True, False], ids=["stock", "no-stock"])
def test_the_default_entry_is_xen_with_our_arguments_in_order(
    tmp_path: Path, release: str, changes: dict[str, object], stock: bool
) -> None:
    node = debian_node(release=release, **changes)
    arguments = load_system("debian").plan(node).boot_args
    written = grub_mkconfig(host_tree(tmp_path / "tree", release, recipe(node).files, stock=stock))
    assert grub_complains(written.config) == ""
    entry = default_entry(written.config)
    version = {"12": "4.17", "13": "4.20"}[release]
    hypervisor = command(entry, "multiboot2", f"/boot/xen-{version}-amd64.gz")
    assert hypervisor == ["placeholder", *arguments.hypervisor, "${xen_rm_opts}"]
    kernel = command(entry, "module2", f"/boot/vmlinuz-{KERNEL}")
    assert kernel == ["placeholder", "root=LABEL=nestlab-root", "ro", *arguments.kernel]
    assert command(entry, "module2", "--nounzip", f"/boot/initrd.img-{KERNEL}") == []


@pytest.mark.parametrize("release", RELEASES)
def test_debians_own_file_finds_nothing_to_warn_of(tmp_path: Path, release: str) -> None:
    """Ours is read first, so xen.cfg sees that Xen was made the default on purpose."""
    written = grub_mkconfig(host_tree(tmp_path / "tree", release, recipe(debian_node(release=release)).files))
    assert "Including Xen overrides" in written.said
    assert "GRUB_DEFAULT changed" not in written.said


@pytest.mark.parametrize("release", RELEASES)
def test_the_menu_does_not_wait_and_speaks_on_the_serial_port(tmp_path: Path, release: str) -> None:
    config = grub_mkconfig(host_tree(tmp_path / "tree", release, recipe(debian_node(release=release)).files)).config
    lines = config.splitlines()
    assert "serial --unit=0 --speed=115200 --word=8 --parity=no --stop=1" in lines
    assert "terminal_output console serial" in lines
    assert {line.strip() for line in lines if "set timeout=" in line} == {"set timeout=0"}
    assert "recovery" not in config


@pytest.mark.parametrize("release", RELEASES)
def test_the_plain_linux_entry_uses_the_serial_port_and_none_of_dom0s_arguments(tmp_path: Path, release: str) -> None:
    node = debian_node(release=release, **EVERYTHING)
    config = grub_mkconfig(host_tree(tmp_path / "tree", release, recipe(node).files)).config
    lines = [line.split()[2:] for line in config.splitlines() if line.split()[:1] == ["linux"]]
    # 10_linux adds an entry for each init of this machine that is not its /sbin/init.
    linux = {tuple(word for word in words if not word.startswith("init=")) for words in lines}
    assert linux == {("root=LABEL=nestlab-root", "ro", "console=ttyS0,115200n8", "net.ifnames=0")}


@pytest.mark.parametrize("release", RELEASES)
def test_why_the_efi_hypervisor_is_taken_out_of_boot(tmp_path: Path, release: str) -> None:
    """The reason of the recipe's `find ... -delete`, so that it goes away when GRUB's scripts no longer need it."""
    node = debian_node(release=release)
    assert any("xen-*.efi" in word for argv in recipe(node).configure for word in argv)
    config = grub_mkconfig(host_tree(tmp_path / "tree", release, recipe(node).files, efi=True)).config
    bogus = [line for line in config.splitlines() if ".efi placeholder" in line]
    assert bogus
