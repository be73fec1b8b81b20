"""PCI devices given to guests: what a host has to be asked first, and what stands against it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from builder.errors import LabError, UsageError
from builder.procedures import load_procedure
from builder.procedures.engine import Engine, Outcome
from builder.procedures.errors import Refused, Unproven
from builder.procedures.options import parse_options
from builder.procedures.pci_assign import address
from builder.procedures.pci_devices import _DEVICES
from builder.procedures.xlconf import pci_items, with_pci_items
from tests.support.fake_host import FakeHost, world
from tests.unit.procedures.test_xe import VM

CARD, OTHER, ROOT = "0000:03:00.0", "0000:03:00.1", "0000:00:1f.2"
CONFIG = "/etc/xen/web.cfg"
LIST = "Name ID Mem VCPUs State Time(s)\nDomain-0 0 1024 2 r----- 1.0\n"


class Pci(FakeHost):
    """A host with a card of two functions, the second of which may be left out, and xl's own bookkeeping."""

    QUESTIONS = (*FakeHost.QUESTIONS, "xl pci-list", "xl pci-assignable-list", "xe vm-list")

    def __init__(self, dialect: str = "xl", *, functions: Sequence[str] = (CARD,), runs: bool = False) -> None:
        self.drivers = dict.fromkeys([*functions, ROOT], "igb")
        self.original = dict(self.drivers)
        self.functions, self.runs, self.has = functions, runs, set[str]()
        self.caps, self.used, self.kind, self.cards, self.stuck = (
            "pv hvm hvm_directio pv_directio",
            "no",
            "0x020000",
            1,
            False,
        )
        self.power, self.value, self.theirs = "halted", "", ""
        self.loaded = True
        self.started: dict[str, Any] = {
            "c_info": {"type": "hvm", "name": "web", "passthrough": "enabled"},
            "b_info": {},
        }
        super().__init__({
            "sh -c": self._shell,
            "xl info": lambda _: f"virt_caps : {self.caps}\n",
            "xl list": lambda _: LIST + ("web 3 512 1 -b---- 1.0\n" if self.runs else ""),
            # xl 4.20, main parts of what it printed of a guest
            "xl list -l web": lambda _: json.dumps([{"domid": 3, "config": self.started}]),
            "xl pci-list": lambda _: "Vdev Device\n" + "".join(f"00.1 {at}\n" for at in sorted(self.has)),
            "xl pci-assignable-list": lambda _: "".join(
                f"{at}\n" for at, driver in self.drivers.items() if driver == "pciback" and at not in self.has),
            "modprobe xen-pciback": lambda _: self._load(),
            "xl pci-assignable-add": lambda argv: self._drive(argv[2], "igb" if self.stuck else "pciback"),
            "xl pci-assignable-remove -r": lambda argv: self._drive(argv[3], self.original[argv[3]]),
            "xl pci-attach web": lambda argv: self._have({argv[3], *self.has}),
            "xl pci-detach web": lambda argv: self._have(self.has - {argv[3]}),
            "xe vm-list": lambda argv: f"{VM}\n" if argv[3].startswith("name-label") else f"{VM},OTHER-UUID\n",
            "xe vm-param-get uuid=OTHER-UUID param-name=other-config param-key=pci": lambda _: f"{self.theirs}\n",
            f"xe vm-param-get uuid={VM} param-name=power-state": lambda _: f"{self.power}\n",
            f"xe vm-param-get uuid={VM} param-name=other-config param-key=pci": lambda _: f"{self.value}\n",
            "xe vm-param-set": lambda argv: self._set(argv[-1].partition("other-config:pci=")[2]),
            "xe vm-param-remove": lambda _: self._set(""),
        }, {CONFIG: 'name = "web"\ntype = "hvm"\n'}, dialect=dialect)  # fmt: skip

    def _drive(self, device: str, driver: str) -> str:
        assert self.loaded, "xl: Looks like pciback driver not loaded"
        self.drivers[device] = driver
        return ""

    def _load(self) -> str:
        self.loaded = True
        return ""

    def _have(self, devices: set[str]) -> str:
        self.has = devices
        return ""

    def _set(self, value: str) -> str:
        self.value = value
        return ""

    def _shell(self, argv: Sequence[str]) -> str:
        if "grep -H" in argv[2]:
            return f'{CONFIG}:name = "web"\n'
        if "lsblk -nrso" in argv[2]:
            return f"/sys/devices/pci0000:00/{ROOT}/ata1/host0/block/sda\n"
        assert argv[2] == _DEVICES
        rows = [f"device {at} class={self.kind} driver={self.drivers[at]} used={self.used}" for at in argv[4:]
                if at in self.drivers]  # fmt: skip
        rows += [f"function {at}" for at in self.functions if rows and at[:-1] == argv[4][:-1]]
        rows += [*["card yes"] * self.cards, "card no", *([] if self.loaded else ["pciback missing"])]
        return "\n".join(rows) + "\n"


def do(host: Pci, devices: str = "03:00.0") -> Outcome:
    procedure = load_procedure("pci-assign")
    return Engine(world(host), sleep=lambda _: None).run(
        "dom0", procedure, parse_options(procedure, {"guest": "web", "devices": devices})
    )


def undo(host: Pci) -> Outcome:
    return Engine(world(host), sleep=lambda _: None).undo("dom0", load_procedure("pci-assign"))


@pytest.mark.parametrize("runs", [False, True])
def test_a_guest_gets_a_device_and_the_host_has_it_back(runs: bool) -> None:
    host = Pci(functions=(CARD, OTHER), runs=runs)
    done = do(host, "03:00.0,0000:03:00.1")
    assert (done.result, done.rebooted) == ("applied", False)
    assert host.files[CONFIG].decode().splitlines()[-1] == f'pci = [ "{CARD}", "{OTHER}" ]'
    assert host.has == ({CARD, OTHER} if runs else set())
    assert host.drivers[CARD] == host.drivers[OTHER] == "pciback"
    assert do(host, "03:00.0,03:00.1").result == "unchanged"
    assert undo(host).result == "undone"
    assert host.drivers == host.original and not host.has
    assert host.files[CONFIG] == b'name = "web"\ntype = "hvm"\n'


@pytest.mark.parametrize("said", [{}, {"passthrough": "disabled"}])
def test_a_guest_that_was_started_without_passthrough_gets_none_while_it_runs(said: dict[str, str]) -> None:
    """Xen 4.20: xc_assign_device failed: Operation not supported."""
    host = Pci(runs=True)
    host.started = {"c_info": {"type": "hvm", "name": "web", **said}, "b_info": {}}
    with pytest.raises(Refused, match="started without passthrough") as caught:
        do(host)
    assert [refusal.code for refusal in caught.value.refusals] == ["no-passthrough"] and host.changes == []
    host.started = {**host.started, "pcidevs": [{"dev": 5, "bus": 9}]}
    assert do(host).result == "applied"


def test_a_pv_guest_that_runs_takes_devices_where_it_left_room_for_their_memory() -> None:
    """Its kernel maps none else: the card is attached, and its driver reads nothing of it."""
    host = Pci(runs=True)
    host.files[CONFIG] = b'name = "web"\ntype = "pv"\n'
    created = {"type": "pv", "name": "web", "passthrough": "enabled"}
    closed: list[dict[str, Any]] = [{"type.pv": {}}, {"type.pv": {"e820_host": "False"}}]
    for built in closed:
        host.started = {"c_info": created, "b_info": built}
        with pytest.raises(Refused, match="e820_host = 1: it takes no device") as caught:
            do(host)
        assert [refusal.code for refusal in caught.value.refusals] == ["no-passthrough"] and host.changes == []
    host.started = {"c_info": created, "b_info": {"type.pv": {"e820_host": "True"}}}
    assert do(host).result == "applied"


def test_the_driver_that_holds_devices_is_loaded_first_and_once() -> None:
    """Debian's is a module. It stays: it holds nothing by itself."""
    host = Pci()
    host.loaded = False
    assert do(host).actions[:2] == ("modprobe xen-pciback", f"xl pci-assignable-add {CARD}")
    assert do(host).result == "unchanged" and undo(host).result == "undone"
    assert do(host).actions[0] == f"xl pci-assignable-add {CARD}"


def test_what_was_hidden_before_stays_hidden_and_other_devices_stay_the_guests() -> None:
    host = Pci(runs=True)
    text = 'name = "web"\npci = [\n  "05:00.0,permissive=1", # its own\n]\ntype = "hvm"\n'
    host.files[CONFIG] = text.encode()
    host.drivers[CARD] = "pciback"
    assert do(host).result == "applied"
    assert host.files[CONFIG].decode().splitlines()[-1] == f'pci = [ "05:00.0,permissive=1", "{CARD}" ]'
    assert undo(host).result == "undone"
    assert host.drivers[CARD] == "pciback"
    assert host.files[CONFIG].decode() == text
    assert do(host).result == "applied"
    host.files[CONFIG] += b"memory = 512\n"
    assert undo(host).result == "undone"
    assert pci_items(host.files[CONFIG].decode()) == ("05:00.0,permissive=1",)
    assert host.files[CONFIG].decode().startswith('name = "web"\ntype = "hvm"\nmemory = 512\n')


def test_a_device_that_stays_with_dom0_is_told() -> None:
    host = Pci()
    host.stuck = True
    with pytest.raises(Unproven, match=f"driver of {CARD} in dom0: expected pciback, seen igb"):
        do(host)


@pytest.mark.parametrize(("change", "devices", "code"), [
    (lambda host: setattr(host, "caps", "pv hvm pv_directio"), "03:00.0", "no-iommu"),
    (lambda _: None, "07:00.0", "no-device"),
    (lambda host: setattr(host, "kind", "0x060400"), "03:00.0", "bridge"),
    (lambda host: setattr(host, "used", "sdb"), "03:00.0", "disk-in-use"),
    (lambda host: setattr(host, "cards", 0), "03:00.0", "last-card"),
    (lambda host: setattr(host, "functions", (CARD, OTHER)), "03:00.0", "functions"),
    (lambda _: None, "00:1f.2", "in-use"),
    (lambda host: host.files.update({CONFIG: b'name = "web"\ntype = "pvh"\n'}), "03:00.0", "pvh"),
])  # fmt: skip
def test_reasons_against_it(change: Callable[[Pci], None], devices: str, code: str) -> None:
    host = Pci()
    change(host)
    with pytest.raises(Refused) as caught:
        do(host, devices)
    assert [refusal.code for refusal in caught.value.refusals] == [code]
    assert host.changes == []


def test_a_device_that_another_guest_has_is_left_there() -> None:
    host = Pci(runs=True)
    host.answers["xl list"] = LIST + "web 3 512 1 -b---- 1.0\nrouter 4 512 1 -b---- 1.0\n"
    host.answers["xl pci-list router"] = f"Vdev Device\n00.0 {CARD}\n"
    with pytest.raises(Refused, match="router has a device of these now"):
        do(host)


def test_words_that_are_no_address_and_guests_without_a_file_are_told() -> None:
    with pytest.raises(UsageError):
        do(Pci(), "eth0")
    host = Pci()
    host.answers["sh -c"] = ""
    with pytest.raises(LabError, match="no file below /etc/xen"):
        do(host)


def test_xapi_is_told_and_told_to_forget() -> None:
    host = Pci("xe")
    host.value = "0/0000:05:00.0"
    with pytest.raises(Refused, match=r"pci-hide devices=03:00\.0"):
        do(host)
    host.drivers[CARD] = "pciback"
    assert do(host).result == "applied" and host.value == f"0/0000:05:00.0,0/{CARD}"
    assert do(host).result == "unchanged"
    assert undo(host).result == "undone" and host.value == "0/0000:05:00.0"
    host.value = f"1/{CARD}"
    assert do(host).result == "unchanged"
    host.value = ""
    host.power = "running"
    with pytest.raises(Refused, match="xe vm-shutdown"):
        do(host)
    host.power, host.theirs = "halted", f"0/0000:07:00.0,0/{CARD}"
    with pytest.raises(Refused, match="OTHER-UUID has a device of these"):
        do(host)


@pytest.mark.parametrize(("entry", "device"), [
    ("03:00.0", CARD), ("0000:03:00.0", CARD), ("03:00.0@5,permissive=1", CARD), ("bdf=03:00.0", CARD),
    ("0000:03:00.0=nic", CARD),
])  # fmt: skip
def test_items_of_a_configuration_are_read(entry: str, device: str) -> None:
    assert address(entry) == device


def test_a_configuration_keeps_everything_else() -> None:
    text = "name = 'a'\npci = ['03:00.0']\nmemory = 512"
    assert (
        with_pci_items(text, ("03:00.0", "04:00.0")) == 'name = \'a\'\nmemory = 512\npci = [ "03:00.0", "04:00.0" ]\n'
    )
    assert with_pci_items(text, ()) == "name = 'a'\nmemory = 512"


def test_comments_are_neither_devices_nor_reach_further_than_their_line() -> None:
    text = "pci = [ '03:00.0', # this ] one\n#  '04:00.0',\n  '05:00.0' ] # all\nmemory = 512\ndisk = [ 'x' ]\n"
    assert pci_items(text) == ("03:00.0", "05:00.0")
    assert with_pci_items(text, ()) == "memory = 512\ndisk = [ 'x' ]\n"


def test_a_configuration_behind_a_link_is_changed_and_the_link_stays() -> None:
    host = Pci()
    host.files["/srv/web.cfg"] = host.files.pop(CONFIG)
    host.answers[f"readlink -f {CONFIG}"] = "/srv/web.cfg\n"
    assert do(host).result == "applied" and CONFIG not in host.files
    assert b"pci = [" in host.files["/srv/web.cfg"] and undo(host).result == "undone"


def test_the_script_reads_a_tree_of_devices(tmp_path: Path) -> None:
    """The real shell on a tree as the kernel's; `lsblk` stands for one that knows the disks in it."""
    bus, real = tmp_path / "sys/bus/pci/devices", tmp_path / "sys/devices/pci0000:00"
    bus.mkdir(parents=True)
    for name, kind in ((CARD, "0x020000"), (OTHER, "0x020000"), (ROOT, "0x010601"), ("0000:04:00.0", "0x020000")):
        (real / name).mkdir(parents=True)
        (real / name / "class").write_text(f"{kind}\n")
        (bus / name).symlink_to(real / name)
    (tmp_path / "drivers/ahci").mkdir(parents=True)
    (real / ROOT / "driver").symlink_to(tmp_path / "drivers/ahci")
    (real / ROOT / "ata1/host0/block/sda/sda1").mkdir(parents=True)
    net = tmp_path / "sys/class/net"
    for name, card in ((CARD, "eth0"), ("0000:04:00.0", "eth1")):
        (net / card).mkdir(parents=True)
        (net / card / "device").symlink_to(real / name)
    (tmp_path / "lsblk").write_text('#!/bin/sh\ncase "$3" in /dev/sda) echo " disk"; echo "/ part" ;; esac\n')
    (tmp_path / "lsblk").chmod(0o755)

    def said(*devices: str) -> list[str]:
        script = _DEVICES.replace("/sys/", f"{tmp_path}/sys/")
        return subprocess.run(["sh", "-c", script, "sh", *devices], capture_output=True, text=True, check=True,
                              env={"PATH": f"{tmp_path}:/usr/bin:/bin"}).stdout.splitlines()  # fmt: skip

    assert said(CARD, "0000:09:00.0") == [
        f"device {CARD} class=0x020000 driver=none used=no", f"function {CARD}", f"function {OTHER}", "card no",
        "card yes", "pciback missing",
    ]  # fmt: skip
    (tmp_path / "sys/bus/pci/drivers/pciback").mkdir(parents=True)
    assert said(CARD)[-1] == "card yes"
    (real / OTHER / "physfn").symlink_to(real / CARD)
    assert [line for line in said(OTHER) if line.startswith("function")] == []
    assert said(ROOT)[0] == f"device {ROOT} class=0x010601 driver=ahci used=sda"
    (tmp_path / "lsblk").write_text('#!/bin/sh\necho " disk"; echo " part"\n')
    assert said(ROOT)[0].endswith("used=no")
