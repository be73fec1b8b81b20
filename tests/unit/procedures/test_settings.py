"""Procedures that are a file and what reads it: queues of interfaces, SUSE's time for disks, guests at shutdown."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from builder.procedures import load_procedure
from builder.procedures.engine import Engine, Outcome
from builder.procedures.errors import Refused, Unproven
from builder.procedures.guests_at_shutdown import _READ, with_keys
from builder.procedures.hotplug_timeout import KEY, PATH, UNIT
from builder.procedures.options import parse_options
from builder.procedures.vif_queue import PATH as RULE
from builder.procedures.xlconf import PATH as XL_CONF
from tests.support.fake_host import FakeHost, world


def do(host: FakeHost, name: str, **options: str) -> Outcome:
    procedure = load_procedure(name)
    return Engine(world(host), sleep=lambda _: None).run("dom0", procedure, parse_options(procedure, options))


def undo(host: FakeHost, name: str) -> Outcome:
    return Engine(world(host), sleep=lambda _: None).undo("dom0", load_procedure(name))


class Queues(FakeHost):
    """Interfaces of guests; udev gives a new one what its rule says, once it has read it."""

    def __init__(self, dialect: str = "xl", *, reads: bool = True) -> None:
        self.vifs = {"vif1.0": 32, "vif2.0": 1000}
        self.rule, self.reads = 7, reads
        super().__init__({
            "sh -c": lambda argv: f"{self.rule}\n" if "vif32000.9" in argv[2] else "".join(
                f"{vif} {length}\n" for vif, length in self.vifs.items()),
            "udevadm control --reload": lambda _: self._reload(),
            "ip link set": lambda argv: self.vifs.update({argv[4]: int(argv[6])}) or "",
        }, dialect=dialect)  # fmt: skip

    def _reload(self) -> str:
        text = self.files.get(RULE, b"").decode()
        self.rule = int(text.rpartition('="')[2].rstrip('"\n')) if text and self.reads else 7
        return ""


@pytest.mark.parametrize("dialect", ["xl", "xe"])
def test_queues_are_longer_those_to_come_too_and_as_before_afterwards(dialect: str) -> None:
    host = Queues(dialect)
    assert do(host, "vif-queue").result == "applied"
    assert host.vifs == {"vif1.0": 1000, "vif2.0": 1000} and host.rule == 1000
    assert do(host, "vif-queue").result == "unchanged"
    host.vifs["vif3.0"] = 1000
    assert undo(host, "vif-queue").result == "undone"
    assert host.vifs == {"vif1.0": 32, "vif2.0": 1000, "vif3.0": 1000} and RULE not in host.files and host.rule == 7


def test_a_rule_that_nobody_reads_is_disproven() -> None:
    with pytest.raises(Unproven, match="expected 1000, seen 7"):
        do(Queues(reads=False), "vif-queue")


class Suse(FakeHost):
    """A SUSE host whose service writes to xenstore when it is started."""

    def __init__(self, *, suse: bool = True, key: str = "", unit: str | None = None) -> None:
        self.enabled, self.key = False, key
        super().__init__({
            "sh -c '. /etc/os-release": "sles suse\n" if suse else "debian\n",
            "systemctl -q is-enabled": lambda _: "" if self.enabled else 1,
            "systemctl daemon-reload": "",
            "systemctl enable": lambda _: self._enable(True),
            "systemctl disable": lambda _: self._enable(False),
            "systemctl stop": "",
            "systemctl restart": lambda _: self._write(self._command()),
            "xenstore-read": lambda argv: f"{self.key}\n" if self.key and argv[1] == KEY else 1,
            "xenstore-write": self._write,
            "xenstore-rm": lambda _: self._write(("", "", "")),
        }, {} if unit is None else {PATH: unit})  # fmt: skip

    def _enable(self, enabled: bool) -> str:
        self.enabled = enabled
        return ""

    def _command(self) -> list[str]:
        """What the service starts, word by word."""
        lines = self.files[PATH].decode().splitlines()
        return next(line for line in lines if line.startswith("ExecStart=/usr/bin")).split()

    def _write(self, argv: Sequence[str]) -> str:
        self.key = argv[2]
        return ""


@pytest.mark.parametrize(("key", "unit"), [("", None), ("5", "[Service]\nExecStart=/usr/bin/xenstore-write x 5\n")])
def test_the_time_for_disks_is_in_xenstore_until_undone(key: str, unit: str | None) -> None:
    host = Suse(key=key, unit=unit)
    assert do(host, "hotplug-timeout", seconds="30").result == "applied"
    assert (host.key, host.enabled) == ("30", True)
    assert do(host, "hotplug-timeout", seconds="30").result == "unchanged"
    assert undo(host, "hotplug-timeout").result == "undone"
    assert (host.key, host.enabled) == (key, False)
    assert host.files.get(PATH, b"").decode() == (unit or "")


def test_only_suse_reads_it() -> None:
    with pytest.raises(Refused, match="not-suse"):
        do(Suse(suse=False), "hotplug-timeout")


def test_systemd_takes_the_service(tmp_path: Path) -> None:
    host = Suse()
    do(host, "hotplug-timeout", seconds="12")
    text = host.files[PATH].decode()
    assert f"ExecStart=/usr/bin/xenstore-write {KEY} 12\n" in text and UNIT.startswith("xen-")
    assert host.changes[-2:] == [f"systemctl enable {UNIT}", f"systemctl restart {UNIT}"]


class Xendomains(FakeHost):
    """A host whose file is read by a real shell."""

    def __init__(self, text: str | None, folder: Path, *, there: bool = True) -> None:
        self.folder = folder
        super().__init__(
            {"sh -c": self._read, "systemctl cat xendomains.service": "" if there else 1},
            {} if text is None else {"/etc/default/xendomains": text},
        )

    QUESTIONS = (*FakeHost.QUESTIONS, "systemctl cat")

    def _read(self, argv: Sequence[str]) -> str:
        path = self.folder / "xendomains"
        path.write_bytes(self.files.get("/etc/default/xendomains", b""))
        script = _READ.replace("/etc/default/xendomains", str(path))
        assert argv[2] == _READ
        return subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout


SHIPPED = '# what is done\nXENDOMAINS_MIGRATE=""\nXENDOMAINS_SAVE=/var/lib/xen/save\n\nXENDOMAINS_RESTORE=true\n'


@pytest.mark.parametrize("text", [None, "", SHIPPED, SHIPPED + "XENDOMAINS_SAVE=/srv\n"])
def test_guests_are_shut_down_and_not_saved_until_undone(tmp_path: Path, text: str | None) -> None:
    host = Xendomains(text, tmp_path)
    assert do(host, "guests-at-shutdown").result == "applied"
    assert host.files["/etc/default/xendomains"].decode().count("XENDOMAINS_SAVE=") == 1
    assert do(host, "guests-at-shutdown").result == "unchanged"
    assert do(host, "guests-at-shutdown", guests="save", wait="60").result == "applied"
    assert undo(host, "guests-at-shutdown").result == "undone"
    assert host.files.get("/etc/default/xendomains", b"").decode() == (text or "")


def test_what_is_not_ours_stays() -> None:
    text = with_keys(SHIPPED, {"XENDOMAINS_SAVE": '""', "NEW": "1"})
    assert text == SHIPPED.replace("SAVE=/var/lib/xen/save", 'SAVE=""') + "NEW=1\n"


def test_a_host_whose_guests_nothing_stops_is_told(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="no-xendomains"):
        do(Xendomains("", tmp_path, there=False), "guests-at-shutdown")


class Router(FakeHost):
    """A kernel with settings that sysctl changes."""

    def __init__(self, conf: str | None = None, *, proxy: str = "0") -> None:
        kernel = {"/proc/sys/net/ipv4/ip_forward": "0\n", "/proc/sys/net/ipv4/conf/xenbr0/proxy_arp": f"{proxy}\n"}
        there = {"/sys/class/net/xenbr0": "", "/etc/xen/scripts/vif-route": ""}
        super().__init__(
            {"cat ": lambda argv: self.files[argv[1]].decode(), "sysctl -q -w": self._set},
            {**kernel, **there, **({} if conf is None else {XL_CONF: conf})},
        )

    def _set(self, argv: Sequence[str]) -> str:
        name, _, value = argv[3].partition("=")
        self.files[f"/proc/sys/{name.replace('.', '/')}"] = f"{value}\n".encode()
        return ""


@pytest.mark.parametrize(("conf", "proxy"), [(None, "0"), ("autoballoon=0\nvif.default.script='vif-bridge'\n", "1")])
def test_guests_are_routed_until_undone(conf: str | None, proxy: str) -> None:
    host = Router(conf, proxy=proxy)
    before = dict(host.files)
    assert do(host, "guest-routed").result == "applied"
    assert host.files["/proc/sys/net/ipv4/conf/xenbr0/proxy_arp"] == b"1\n"
    assert do(host, "guest-routed").result == "unchanged"
    assert do(host, "guest-routed", proxy_arp="false").result == "applied"
    assert undo(host, "guest-routed").result == "undone"
    assert host.files == before


def test_what_routing_needs() -> None:
    host = Router("vif.default.script=vif-nestlab-tx-off\n")
    del host.files["/etc/xen/scripts/vif-route"]
    with pytest.raises(Refused) as caught:
        do(host, "guest-routed", card="eth9")
    assert [refusal.code for refusal in caught.value.refusals] == ["no-card", "no-script", "other-script"]
    assert host.changes == []
