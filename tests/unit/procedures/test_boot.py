"""Procedures that set boot arguments: on a dom0 whose GRUB settings are read by a real shell."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from builder.model.host import Host
from builder.procedures import load_procedure
from builder.procedures.api import Options
from builder.procedures.boot import BootSettings, BootWay, Grub, drop_in
from builder.procedures.engine import Engine
from builder.procedures.errors import Refused
from builder.procedures.options import parse_options
from tests.support.fake_dom0 import SETTINGS, FakeDom0, mkconfig
from tests.support.fake_host import world

BOOT = {
    "dom0-memory": {"size": "2GiB"},
    "dom0-vcpus": {"count": "1", "pin": "false"},
    "debug-mode": {"loglvl": "debug", "guest_loglvl": "info"},
    "nic-quirk": {},
    "serial-console": {"speed": "57600"},
}
WANTED = {
    "dom0-memory": ("dom0_mem=2048M,max:2048M", ""),
    "dom0-vcpus": ("dom0_max_vcpus=1", ""),
    "debug-mode": ("loglvl=debug guest_loglvl=info noreboot", ""),
    "nic-quirk": ("", "pcie_aspm=off"),
    "serial-console": ("com1=57600,8n1 console=com1,vga", "console=tty0 console=hvc0"),
}


def asked(name: str, **options: str) -> Options:
    return parse_options(load_procedure(name), {**BOOT[name], **options})


def engine(host: FakeDom0) -> Engine:
    return Engine(world(host), sleep=lambda _: None)


@pytest.fixture
def dom0(tmp_path: Path) -> FakeDom0:
    return FakeDom0(tmp_path / "grub")


@pytest.mark.parametrize("name", BOOT)
def test_it_is_applied_once_and_undone(dom0: FakeDom0, name: str) -> None:
    before = dom0.xen, dom0.kernel
    procedure = load_procedure(name)
    done = engine(dom0).run("dom0", procedure, asked(name))
    assert (done.result, done.rebooted) == ("applied", True)
    assert all(each.ok for each in done.evidence) and done.evidence
    xen, kernel = WANTED[name]
    assert xen in dom0.xen and kernel in dom0.kernel
    assert "root=/dev/sda1" in dom0.kernel

    dom0.changes.clear()
    assert engine(dom0).run("dom0", procedure, asked(name)).result == "unchanged"
    assert [line for line in dom0.changes if not line.startswith("xl debug-keys")] == []

    subject = "pcie_aspm" if name == "nic-quirk" else ""
    assert engine(dom0).undo("dom0", procedure, subject).result == "undone"
    assert (dom0.xen, dom0.kernel) == before
    assert [path for path in dom0.files if "nestlab-" in path or "procedures" in path] == []
    assert engine(dom0).undo("dom0", procedure, subject).result == "nothing"


@pytest.mark.parametrize(("first", "second"), [*itertools.permutations(["dom0-memory", "debug-mode", "nic-quirk"], 2)])
def test_two_are_undone_in_any_order(dom0: FakeDom0, first: str, second: str) -> None:
    before = dom0.xen, dom0.kernel
    for name in (first, second):
        engine(dom0).run("dom0", load_procedure(name), asked(name))
    assert engine(dom0).undo("dom0", load_procedure(first)).result == "undone"
    assert WANTED[second][0] in dom0.xen and WANTED[second][1] in dom0.kernel
    assert engine(dom0).undo("dom0", load_procedure(second)).result == "undone"
    assert (dom0.xen, dom0.kernel) == before


def test_a_second_value_keeps_what_was_before_the_first(dom0: FakeDom0) -> None:
    procedure = load_procedure("dom0-memory")
    engine(dom0).run("dom0", procedure, asked("dom0-memory"))
    assert engine(dom0).run("dom0", procedure, asked("dom0-memory", size="1536MiB")).result == "applied"
    assert "dom0_mem=1536M,max:1536M" in dom0.xen
    engine(dom0).undo("dom0", procedure)
    assert dom0.xen.split()[0] == "dom0_mem=1024M,max:1024M"


def test_what_the_host_says_itself_already_is_left_alone(dom0: FakeDom0) -> None:
    done = engine(dom0).run("dom0", load_procedure("dom0-memory"), asked("dom0-memory", size="1GiB"))
    assert (done.result, dom0.changes) == ("unchanged", [])


def test_a_crash_before_update_grub_is_mended_by_the_next_run(dom0: FakeDom0) -> None:
    settings = BootSettings(xen_keys=("dom0_mem",), xen=("dom0_mem=2048M,max:2048M",))
    dom0.files[Grub.path("dom0-memory")] = drop_in("dom0-memory", settings).encode()
    done = engine(dom0).run("dom0", load_procedure("dom0-memory"), asked("dom0-memory"))
    assert done.actions[0] == "update-grub"
    assert "dom0_mem=2048M,max:2048M" in dom0.xen


@pytest.mark.parametrize(
    ("name", "options", "codes"),
    [
        ("dom0-memory", {"size": "8GiB"}, ["larger-than-host"]),
        ("dom0-memory", {"size": "256MiB"}, ["too-small"]),
        ("dom0-memory", {"size": "512MiB"}, ["in-use"]),
        ("dom0-vcpus", {"count": "64"}, ["more-than-host"]),
    ],
)
def test_what_would_harm_is_refused(dom0: FakeDom0, name: str, options: dict[str, str], codes: list[str]) -> None:
    dom0.used_kib = 600 * 1024
    dom0.start()
    with pytest.raises(Refused) as caught:
        engine(dom0).run("dom0", load_procedure(name), asked(name, **options))
    assert [refusal.code for refusal in caught.value.refusals] == codes
    assert dom0.changes == []


def test_running_guests_are_a_reason_among_others(dom0: FakeDom0) -> None:
    dom0.guests = {"web": 512, "two words": 2000}
    with pytest.raises(Refused) as caught:
        engine(dom0).run("dom0", load_procedure("dom0-memory"), asked("dom0-memory", size="3GiB"))
    assert [refusal.code for refusal in caught.value.refusals] == ["no-room-for-guests", "guests-run"]
    assert "web, two words" in str(caught.value)
    assert dom0.changes == []


def test_guests_that_came_since_keep_an_undo_from_restarting_the_host(dom0: FakeDom0) -> None:
    procedure = load_procedure("nic-quirk")
    engine(dom0).run("dom0", procedure, asked("nic-quirk"))
    dom0.guests = {"web": 512}
    dom0.changes.clear()
    with pytest.raises(Refused):
        engine(dom0).undo("dom0", procedure)
    assert dom0.changes == []


@pytest.mark.parametrize(
    ("total", "zfs", "size"), [(16384, "false", 4), (65536, "false", 4), (131072, "false", 8), (131072, "true", 16)]
)
def test_without_a_size_the_documented_rule_decides(tmp_path: Path, total: int, zfs: str, size: int) -> None:
    host = FakeDom0(tmp_path / "grub", total=total)
    procedure = load_procedure("dom0-memory")
    done = engine(host).run("dom0", procedure, parse_options(procedure, {"zfs": zfs}))
    assert f"dom0_mem={size * 1024}M,max:{size * 1024}M" in host.xen
    assert done.advice == ()


def test_less_than_the_rule_is_done_with_advice(dom0: FakeDom0) -> None:
    done = engine(dom0).run("dom0", load_procedure("dom0-memory"), asked("dom0-memory", size="1536MiB"), dry_run=True)
    assert "4GiB" in done.advice[0] and "2GiB in any case" in done.advice[0]


def test_a_dry_run_says_exactly_what_a_run_then_does(dom0: FakeDom0) -> None:
    procedure = load_procedure("debug-mode")
    planned = engine(dom0).run("dom0", procedure, asked("debug-mode"), dry_run=True)
    assert (planned.result, dom0.changes) == ("planned", [])
    done = engine(dom0).run("dom0", procedure, asked("debug-mode"))
    assert done.actions == planned.actions
    assert [line for line in planned.actions[1:-1] if line not in dom0.changes and not line.startswith("grep")] == []


def test_no_key_has_two_owners(dom0: Host) -> None:
    owned: dict[str, str] = {}
    for name in BOOT:
        way = load_procedure(name).ways["xl"]
        assert isinstance(way, BootWay)
        for key in way.settings(asked(name)).running():
            assert key not in owned, f"{key} is of {name} and of {owned[key]}"
            owned[key] = name
    assert len(owned) > 8


@pytest.mark.parametrize(
    ("before", "keys", "after"),
    [
        ("", "a", ""),
        ("a", "a", ""),
        ("a=1", "a", ""),
        ("a a a=2 b", "a", "b"),
        ("ab=1 a=1 ba=1 c.a=2", "a", "ab=1 ba=1 c.a=2"),
        ("  b   a-b=1\ta_b=2  c ", "a-b", "b c"),
        ("xxpci.hide=1 x-pci.hide=(0000:01:00.0)(b) y", "x_pci.hide", "xxpci.hide=1 y"),
        ("glob=* [a-z] ? b", "b", "glob=* [a-z] ?"),
        (r"back\slash it's b", "b", r"back\slash it's"),
    ],
)
def test_keys_are_taken_out_whole_and_nothing_else(tmp_path: Path, before: str, keys: str, after: str) -> None:
    (tmp_path / "star").touch()
    quoted = before.replace("\\", "\\" * 4)  # one round for the shell, one for GRUB
    first = f'GRUB_CMDLINE_XEN="{quoted}"\nGRUB_CMDLINE_XEN_DEFAULT="{quoted}"\n'
    second = drop_in("test", BootSettings(xen_keys=(keys,), xen=("new=1",)))
    xen, _ = mkconfig({"1": first, "2": second}, tmp_path / "grub")
    assert xen.split() == [*after.split(), "new=1", *after.split()]


def test_a_stock_host_has_its_plain_arguments_on_xens_entries_too(tmp_path: Path) -> None:
    """Nothing of nestlab's is there, as on a host installed by hand: the plain kernel's entry stays as it is."""
    stock = 'GRUB_CMDLINE_LINUX_DEFAULT="quiet pcie_aspm=force"\nGRUB_CMDLINE_LINUX=""\n'
    host = FakeDom0(tmp_path / "grub", settings=stock)
    engine(host).run("dom0", load_procedure("nic-quirk"), asked("nic-quirk"))
    assert host.kernel.split() == ["root=/dev/sda1", "ro", "pcie_aspm=off", "quiet"]


def test_special_characters_reach_the_kernel_as_they_are(tmp_path: Path) -> None:
    hide = "xen-pciback.hide=(0000:03:00.0)(0000:04:00.1)"
    settings = BootSettings(kernel_keys=("xen-pciback.hide",), kernel=(hide,))
    _, kernel = mkconfig({"1": SETTINGS, "2": drop_in("pci-hide", settings)}, tmp_path / "grub")
    assert hide in kernel.split()
