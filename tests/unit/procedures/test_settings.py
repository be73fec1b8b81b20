"""Procedures that are a file and what reads it: queues of interfaces, SUSE's time for disks, guests at shutdown."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from builder.procedures import load_procedure
from builder.procedures.engine import Engine, Outcome
from builder.procedures.errors import Failed, Refused, Unproven
from builder.procedures.guest_routed import _STILL
from builder.procedures.guests_at_shutdown import _READ, LIMIT, SAVED, with_keys
from builder.procedures.hotplug_timeout import KEY, PATH, UNIT
from builder.procedures.options import parse_options
from builder.procedures.vif_queue import PATH as RULE
from builder.procedures.vifs import PROBE
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
    """A host whose file is read by a real shell. systemd reads its own when it is told to."""

    def __init__(
        self, text: str | None, folder: Path, *, there: bool = True, path: str = "/etc/default/xendomains",
        saved: str = "", reads: bool = True,
    ) -> None:  # fmt: skip
        self.folder, self.limit, self.reads = folder, "5min", reads
        self.read_last: bytes | None = None
        super().__init__(
            {"sh -c": self._read, "systemctl cat xendomains.service": "" if there else 1, "mkdir -p": "",
             "systemctl daemon-reload": lambda _: self._reload(), f"ls -1 {SAVED}": saved,
             "systemctl show -p NeedDaemonReload": lambda _: f"NeedDaemonReload={'yes' if self._stale() else 'no'}\n",
             "systemctl show -p TimeoutStopUSec": lambda _: f"TimeoutStopUSec={self.limit}\n"},
            {} if text is None else {path: text},
        )  # fmt: skip

    QUESTIONS = (*FakeHost.QUESTIONS, "systemctl cat", "systemctl show")

    def _read(self, argv: Sequence[str]) -> str:
        path = self.folder / "xendomains"
        path.unlink(missing_ok=True)
        if argv[4] in self.files:
            path.write_bytes(self.files[argv[4]])
        return subprocess.run(["sh", "-c", _READ, "sh", path], capture_output=True, text=True, check=True).stdout

    def _stale(self) -> bool:
        return self.files.get(LIMIT) != self.read_last

    def _reload(self) -> str:
        self.read_last = self.files.get(LIMIT)
        words = self.files.get(LIMIT, b"5min").decode().strip().rpartition("=")[2]
        minutes, seconds = divmod(int(words), 60) if words.isdigit() else (0, 0)
        if self.reads:
            self.limit = (f"{minutes}min" + f" {seconds}s" * bool(seconds)) if words.isdigit() else words
        return ""


SHIPPED = '# what is done\nXENDOMAINS_MIGRATE=""\nXENDOMAINS_SAVE=/var/lib/xen/save\n\nXENDOMAINS_RESTORE=true\n'


@pytest.mark.parametrize("text", [None, "", SHIPPED, SHIPPED + "XENDOMAINS_SAVE=/srv\n"])
def test_guests_are_shut_down_and_not_saved_until_undone(tmp_path: Path, text: str | None) -> None:
    host = Xendomains(text, tmp_path)
    assert do(host, "guests-at-shutdown").result == "applied"
    assert host.files["/etc/default/xendomains"].decode().count("XENDOMAINS_SAVE=") == 1
    assert host.limit == "6min"  # the guests' 300 seconds, and a minute
    assert do(host, "guests-at-shutdown").result == "unchanged"
    assert do(host, "guests-at-shutdown", guests="save", wait="40").result == "applied"
    assert host.limit == "infinity"  # guests are saved one after the other
    assert undo(host, "guests-at-shutdown").result == "undone"
    assert host.files.get("/etc/default/xendomains", b"").decode() == (text or "")
    assert host.limit == "5min" and LIMIT not in host.files


def test_a_limit_that_systemd_was_not_told_of_is_told_by_the_next_run(tmp_path: Path) -> None:
    """systemd says itself that it has not read a unit's files (systemctl(1): show, NeedDaemonReload)."""
    host = Xendomains(SHIPPED, tmp_path)
    steps: list[Callable[[], Outcome]] = [
        lambda: do(host, "guests-at-shutdown"), lambda: undo(host, "guests-at-shutdown")
    ]  # fmt: skip
    for step in steps:
        reload = host.answers["systemctl daemon-reload"]
        host.answers["systemctl daemon-reload"] = 1
        with pytest.raises(Failed):
            step()
        host.answers["systemctl daemon-reload"] = reload
        assert step().result in {"applied", "undone"}
    assert host.limit == "5min" and do(host, "guests-at-shutdown").result == "applied"


def test_what_somebody_else_changed_meanwhile_stays(tmp_path: Path) -> None:
    host = Xendomains(SHIPPED + "export XENDOMAINS_RESTORE=yes\n", tmp_path)
    before = host.files["/etc/default/xendomains"]
    do(host, "guests-at-shutdown")
    host.files["/etc/default/xendomains"] += b"XENDOMAINS_AUTO=/etc/xen/others\n"
    assert undo(host, "guests-at-shutdown").result == "undone"
    text = host.files["/etc/default/xendomains"].decode()
    assert "XENDOMAINS_AUTO=/etc/xen/others\n" in text and "MAXWAIT" not in text
    assert sorted(text.splitlines()) == sorted([*before.decode().splitlines(), "XENDOMAINS_AUTO=/etc/xen/others"])


def test_suse_keeps_it_elsewhere(tmp_path: Path) -> None:
    host = Xendomains(SHIPPED, tmp_path, path="/etc/sysconfig/xendomains")
    assert do(host, "guests-at-shutdown", wait="95").result == "applied"
    assert b"MAXWAIT=95" in host.files["/etc/sysconfig/xendomains"] and host.limit == "2min 35s"
    assert "/etc/default/xendomains" not in host.files


def test_a_limit_that_systemd_does_not_read_and_guests_that_lie_saved_are_told(tmp_path: Path) -> None:
    with pytest.raises(Unproven, match="expected 460, seen 300"):
        do(Xendomains(SHIPPED, tmp_path, reads=False), "guests-at-shutdown", wait="400")
    with pytest.raises(Unproven, match="expected none, seen web, db"):
        do(Xendomains(SHIPPED, tmp_path, saved="web\ndb\n"), "guests-at-shutdown")


def test_what_is_not_ours_stays() -> None:
    text = with_keys(SHIPPED, {"XENDOMAINS_SAVE": '""', "NEW": "1"})
    assert text == SHIPPED.replace("SAVE=/var/lib/xen/save", 'SAVE=""') + "NEW=1\n"


def test_a_host_whose_guests_nothing_stops_is_told(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="no-xendomains"):
        do(Xendomains("", tmp_path, there=False), "guests-at-shutdown")


class Router(FakeHost):
    """A kernel with settings that sysctl changes. Its script for interfaces routes by what it is given."""

    def __init__(self, conf: str | None = None, *, proxy: str = "0", routes: bool = True) -> None:
        kernel = {"/proc/sys/net/ipv4/ip_forward": "0\n", "/proc/sys/net/ipv4/conf/xenbr0/proxy_arp": f"{proxy}\n"}
        there = {"/sys/class/net/xenbr0": "", "/etc/xen/scripts/vif-route": ""}
        self.routes, self.others = routes, False
        super().__init__(
            {
                "cat ": lambda argv: self.files[argv[1]].decode(),
                "sysctl -q -w": self._set,
                "ip -4 -o address show dev xenbr0": "2: xenbr0    inet 198.51.100.1/24 scope global xenbr0\n",
                "sh -c 'command -v ifconfig'": "/usr/sbin/ifconfig\n",
                "sh -c": self._try,
            },
            {**kernel, **there, **({} if conf is None else {XL_CONF: conf})},
        )

    def _set(self, argv: Sequence[str]) -> str:
        name, _, value = argv[3].partition("=")
        self.files[f"/proc/sys/{name.replace('.', '/')}"] = f"{value}\n".encode()
        return ""

    def _try(self, argv: Sequence[str]) -> str | int:
        if argv[2] == _STILL:
            return "" if self.others else 1
        if "hotplug-status" not in argv[2]:
            return ""
        assert argv[4:6] == ["/etc/xen/scripts/vif-route", "xenbr0"]
        return f"status=connected\nerror=\nway={PROBE}\n" if self.routes else "status=error\nerror=no ifconfig\n"


@pytest.mark.parametrize(("conf", "proxy"), [(None, "0"), ("autoballoon=0\nvif.default.script='vif-bridge'\n", "1")])
def test_guests_are_routed_until_undone(conf: str | None, proxy: str) -> None:
    host = Router(conf, proxy=proxy)
    before = dict(host.files)
    assert do(host, "guest-routed").result == "applied"
    assert host.files["/proc/sys/net/ipv4/conf/xenbr0/proxy_arp"] == b"1\n"
    text = host.files[XL_CONF].decode()
    assert 'vif.default.script="vif-route"\n' in text and 'vif.default.gatewaydev="xenbr0"\n' in text
    assert do(host, "guest-routed").result == "unchanged"
    assert do(host, "guest-routed", proxy_arp="false").result == "applied"
    assert undo(host, "guest-routed").result == "undone"
    assert host.files == before


def test_a_bridge_that_came_meanwhile_goes_on_with_its_translation() -> None:
    host = Router()
    do(host, "guest-routed")
    host.others = True
    assert undo(host, "guest-routed").result == "undone"
    assert host.files["/proc/sys/net/ipv4/ip_forward"] == b"1\n"


def test_a_script_that_does_not_route_disproves_it() -> None:
    with pytest.raises(Unproven, match="expected connected, seen no ifconfig"):
        do(Router(routes=False), "guest-routed")


def test_what_routing_needs() -> None:
    host = Router("vif.default.script=vif-nestlab-tx-off\nvif.default.gatewaydev=eth0\n")
    del host.files["/etc/xen/scripts/vif-route"]
    host.answers |= {"sh -c 'command -v ifconfig'": 1}
    with pytest.raises(Refused) as caught:
        do(host, "guest-routed", card="eth9")
    codes = [refusal.code for refusal in caught.value.refusals]
    assert codes == ["no-card", "no-script", "no-ifconfig", "other-script", "other-gateway"]
    host.answers |= {"ip -4 -o address show dev xenbr0": ""}
    with pytest.raises(Refused, match="no-address"):
        do(host, "guest-routed")
    assert host.changes == []
