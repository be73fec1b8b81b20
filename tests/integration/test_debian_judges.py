"""The files of a Debian dom0, each read by the program that it is for."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

from builder.model.plan import Recipe, SystemPlan
from builder.paths import data_dir
from builder.systems import load_system
from tests.support.debs import merged, unpacked
from tests.support.nodes import debian_node, nic, tiny_node, xen
from tests.support.xl import read_xl

pytestmark = pytest.mark.integration

# With everything in it: hidden devices, several cards, VLANs.
NODE = debian_node(
    release="12",
    xen=xen(pciback_hide=("03:00.0",)),
    nics=(nic(1, mtu=9000, addresses=("10.0.0.1/24",)), nic(2, trunk=(10, 20), vlan_addresses={10: ("10.1.0.1/24",)})),
)


@pytest.fixture(scope="module")
def plan() -> SystemPlan:
    return load_system("debian").plan(NODE)


@pytest.fixture(scope="module")
def recipe(plan: SystemPlan) -> Recipe:
    assert plan.recipe is not None
    return plan.recipe


@pytest.fixture(scope="module")
def tree(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installed tree as far as systemd looks at it, with the recipe's files, and its units enabled by systemctl."""
    packages = ("systemd", "udev", "openssh-server", "xen-utils-common", "kmod", "dbus")
    root = merged("12", packages, tmp_path_factory.mktemp("tree"))
    for file in recipe.files:
        path = root / file.path.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file.content)
        path.chmod(file.mode)
    enable = [argv for argv in recipe.configure if argv[0] == "systemctl"]
    assert enable
    for argv in enable:
        subprocess.run(["systemctl", "--root", root, *argv[1:]], check=True, capture_output=True)
    return root


def text(plan: SystemPlan, path: str) -> str:
    assert plan.recipe is not None
    return next(file.content for file in (*plan.recipe.files, *plan.seed) if file.path == path)


def test_xl_conf_is_read_by_xen(plan: SystemPlan, tmp_path: Path) -> None:
    file = tmp_path / "xl.conf"
    file.write_text(text(plan, "/etc/xen/xl.conf"))
    complaint, values = read_xl(file, "autoballoon", "vif.default.bridge")
    assert complaint == ""
    assert values == {"autoballoon": "off", "vif.default.bridge": "xenbr0"}


@pytest.fixture(scope="module")
def checks() -> ModuleType:
    """The shipped checks of a Debian dom0, which bring a guest of their own."""
    path = data_dir("labs") / "checks/test_debian_dom0.py"
    spec = importlib.util.spec_from_file_location("shipped_checks", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_checks_guest_is_read_by_xen(checks: ModuleType, tmp_path: Path) -> None:
    file = tmp_path / "guest.cfg"
    file.write_text(checks.GUEST_CONFIG.format(name="check-1", nonce="abc", kernel="6.1.0-1-amd64", folder="/run/x"))
    complaint, values = read_xl(file, "type", "kernel", "ramdisk", "extra", "on_poweroff")
    assert complaint == ""
    assert values == {
        "type": "pv",
        "kernel": "/boot/vmlinuz-6.1.0-1-amd64",
        "ramdisk": "/run/x/initrd",
        "extra": "console=hvc0 nonce=abc",
        "on_poweroff": "destroy",
    }


def test_xens_parser_does_complain_about_what_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "xl.conf"
    file.write_text("autoballoon=off\n")
    assert "syntax error" in read_xl(file)[0]


def test_units_are_well_formed_and_in_no_ordering_cycle(tree: Path) -> None:
    assert complaints(tree) == []


def test_a_cycle_among_our_units_would_be_told(tree: Path, tmp_path: Path) -> None:
    shutil.copytree(tree, tmp_path / "tree", symlinks=True)
    unit = tmp_path / "tree/etc/systemd/system/nestlab-network.service"
    unit.write_text(unit.read_text().replace("[Unit]", "[Unit]\nAfter=ssh.service\nRequires=ssh.service"))
    assert any("cycle" in line for line in complaints(tmp_path / "tree"))


def complaints(tree: Path) -> list[str]:
    """What systemd-analyze has against our units: its lines about Debian's own are of no interest here."""
    units = [path.name for path in (tree / "etc/systemd/system").glob("nestlab-*.service")]
    assert len(units) == 2
    done = subprocess.run(
        ["systemd-analyze", "verify", "--root", tree, *units, "ssh.service", "multi-user.target"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return [line for line in done.stderr.splitlines() if "nestlab" in line or "cycle" in line]


def test_enabled_units_start_at_boot(tree: Path) -> None:
    links = {str(path.relative_to(tree / "etc/systemd/system")) for path in (tree / "etc").rglob("*.wants/*")}
    assert {
        "multi-user.target.wants/nestlab-network.service",
        "sysinit.target.wants/nestlab-pciback.service",
        "getty.target.wants/serial-getty@hvc0.service",
    } <= links


def test_sshd_takes_keys_only(plan: SystemPlan, tmp_path: Path) -> None:
    """With Debian's own sshd_config around ours, as it is in the image."""
    key = tmp_path / "host"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    ours = tmp_path / "00-nestlab.conf"
    ours.write_text(text(plan, "/etc/ssh/sshd_config.d/00-nestlab.conf"))
    stock = unpacked("12", ("openssh-server",)) / "usr/share/openssh/sshd_config"
    config = tmp_path / "sshd_config"
    config.write_text(stock.read_text().replace("/etc/ssh/sshd_config.d/*.conf", str(ours)))
    Path("/run/sshd").mkdir(exist_ok=True)
    done = subprocess.run(
        ["/usr/sbin/sshd", "-T", "-f", config, "-h", key], capture_output=True, text=True, check=True
    ).stdout
    told = dict(line.split(" ", 1) for line in done.splitlines() if " " in line)
    assert told["passwordauthentication"] == "no"
    assert told["kbdinteractiveauthentication"] == "no"
    assert told["permitrootlogin"] in ("prohibit-password", "without-password")
    assert told["permitemptypasswords"] == "no"
    assert told["authenticationmethods"] == "publickey"
    assert re.findall(r"^hostkey (.*)$", done, re.MULTILINE) == [str(key), "/etc/ssh/ssh_host_ed25519_key"]


def test_shell_scripts_and_settings_are_clean(plan: SystemPlan, checks: ModuleType, tmp_path: Path) -> None:
    tiny = load_system("tiny").plan(tiny_node(nics=NODE.nics))
    scripts = {
        "network": ("sh", text(plan, "/usr/local/lib/nestlab/network")),
        "grub": ("sh", text(plan, "/etc/default/grub.d/00-nestlab.cfg")),
        "xendomains": ("sh", text(plan, "/etc/default/xendomains")),
        "guest-init": ("sh", checks.GUEST_INIT),
        "guest-poweroff": ("sh", checks.GUEST_POWEROFF),
        "tiny": ("sh", next(file.content for file in tiny.seed if file.path.endswith("network.sh"))),
    }
    for name, (shell, content) in scripts.items():
        (tmp_path / name).write_text(content)
        # SC2034: settings are read by those who source the file
        done = subprocess.run(
            ["shellcheck", "-s", shell, "-e", "SC2034", tmp_path / name], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_modprobe_reads_the_hidden_devices(plan: SystemPlan, tmp_path: Path) -> None:
    (tmp_path / "xen-pciback.conf").write_text(text(plan, "/etc/modprobe.d/xen-pciback.conf"))
    library = next(unpacked("12", ("kmod", "libkmod2")).rglob("libkmod.so.2"))
    kmod = next(unpacked("12", ("kmod", "libkmod2")).rglob("bin/kmod"))
    (tmp_path / "bin").mkdir()
    modprobe = tmp_path / "bin/modprobe"
    modprobe.symlink_to(kmod)
    shown = subprocess.run(
        [modprobe, "-C", tmp_path, "-c"], capture_output=True, text=True, check=True,
        env={**os.environ, "LD_LIBRARY_PATH": str(library.parent)},
    ).stdout  # fmt: skip
    assert {"options xen_pciback hide=(0000:03:00.0)", "softdep ahci pre: xen-pciback"} <= set(shown.splitlines())
