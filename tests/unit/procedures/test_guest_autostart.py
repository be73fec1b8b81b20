"""A guest that starts with its host: its entry, and the wait for disks that come late."""

from __future__ import annotations

import json
import shlex
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from builder.procedures import load_procedure
from builder.procedures.errors import Failed, Refused, Unproven
from builder.procedures.guest_disks_wait import SCRIPT, Wait, disks_in, script_path, unit_name, unit_path
from builder.procedures.options import parse_options
from tests.support.fake_host import FakeHost
from tests.unit.procedures.test_guests import XlHost, do, undo

ENTRY = "/etc/xen/auto/off.cfg"
UNIT, SERVICE, HELPER = unit_path("off"), unit_name("off"), script_path("off")
DISKS = ("/dev/vg/off", "/srv/nfs/my %data$.img")


class Late(XlHost):
    """A host with the guest `off`, whose disks may come late, and systemd, which knows what it has loaded. `lost` links
    are entries that lead nowhere."""

    QUESTIONS = (*XlHost.QUESTIONS, "xl create --dryrun", "systemctl show", "systemctl start nestlab-disks-")

    def __init__(self, disks: Sequence[str] = DISKS) -> None:
        super().__init__({})
        # As libxl_domain_config_to_json() gives it: what is a default is left out.
        self.disks: list[dict[str, object]] = [
            {"pdev_path": path, "vdev": f"xvd{letter}", "format": "raw", "readwrite": 1}
            for letter, path in zip("abcdef", disks, strict=False)
        ]
        self.there = set(disks)
        self.asked_for: set[str] = set()
        self.loaded: dict[str, str] = {}
        self.lost: dict[str, str] = {}
        self.answers |= {
            "xl create --dryrun --quiet": 1,
            "xl create --dryrun --quiet /etc/xen/off.cfg": lambda _: json.dumps({"c_info": {}, "disks": self.disks}),
            "test -L /etc/xen/auto/": lambda argv: "" if argv[2] in {**self.links, **self.lost} else 1,
            "readlink /etc/xen/auto/": lambda argv: f"{self.lost[argv[1]]}\n",
            "ln -s ": lambda argv: self._ln(argv, force=False),
            "ln -sfn ": lambda argv: self._ln(argv, force=True),
            "rm -f -- /etc/xen/auto/": lambda argv: self._rm(argv[3]),
            f"systemctl -q is-enabled {SERVICE}": lambda _: "" if SERVICE in self.asked_for else 1,
            f"systemctl enable {SERVICE}": lambda _: self._ask({SERVICE}) if UNIT in self.files else 1,
            f"systemctl disable {SERVICE}": lambda _: self._ask(set()),
            "systemctl daemon-reload": lambda _: self._load(),
            "systemctl show -p Wants -p After xendomains.service": lambda _: self._relations(),
            f"systemctl show -p ExecStart {SERVICE}": lambda _: self._command(),
            f"systemctl start {SERVICE}": lambda _: self._start(),
        }

    def _ln(self, argv: Sequence[str], *, force: bool) -> str | int:
        target, entry = argv[2], argv[3]
        if not force and entry in {**self.links, **self.lost}:
            return 1  # ln: failed to create symbolic link: File exists
        self._rm(entry)
        (self.links if target in self.files else self.lost)[entry] = target
        return ""

    def _rm(self, entry: str) -> str:
        self.links.pop(entry, None)
        self.lost.pop(entry, None)
        return ""

    def _ask(self, services: set[str]) -> str:
        self.asked_for = services
        return ""

    def _start(self) -> str | int:
        return "" if {str(disk["pdev_path"]) for disk in self.disks} <= self.there else 1

    def _load(self) -> str:
        self.loaded = {path: text.decode() for path, text in self.files.items() if path.endswith(".service")}
        return ""

    def _relations(self) -> str:
        ours = f" {SERVICE}" if SERVICE in self.asked_for and "Before=xendomains.service" in self._unit() else ""
        return f"Wants=network-online.target{ours}\nAfter=remote-fs.target{ours} basic.target\n"

    def _unit(self) -> str:
        return self.loaded.get(UNIT, "")

    def _command(self) -> str:
        """As systemd 252 prints it: print_property() joins the words, specifiers are resolved and variables are not."""
        line = next((line for line in self._unit().splitlines() if line.startswith("ExecStart=")), "")
        words = " ".join(shlex.split(line.partition("=")[2])).replace("%%", "%")
        return (
            f"ExecStart={{ path=/bin/sh ; argv[]={words} ; ignore_errors=no ; start_time=[n/a] ; stop_time=[n/a] ; "
            "pid=0 ; code=(null) ; status=0/0 }\n"
        )


def autostart(host: FakeHost, **options: str) -> Any:
    return do(host, "guest-autostart", guest="off", **options)


def test_an_entry_that_leads_nowhere_is_replaced_and_comes_back() -> None:
    host = Late()
    host.lost = {ENTRY: "/etc/xen/gone.cfg"}
    assert autostart(host).result == "applied"
    assert (host.links, host.lost) == ({ENTRY: "/etc/xen/off.cfg"}, {})
    assert autostart(host).result == "unchanged"
    assert undo(host, "guest-autostart", "off").result == "undone"
    assert (host.links, host.lost) == ({}, {ENTRY: "/etc/xen/gone.cfg"})


def test_an_entry_that_starts_another_guest_is_not_taken_for_its_own() -> None:
    host = Late()
    host.files["/etc/xen/web.cfg"] = b'name = "web"\nmemory = 64\n'
    host.links = {ENTRY: "/etc/xen/web.cfg"}
    host.running["off"] = 64
    with pytest.raises(Refused, match="other-entry"):
        autostart(host, disks_wait="60")
    assert host.changes == []
    with pytest.raises(Unproven, match="something in /etc/xen/auto is of that name: expected True, seen False"):
        host.answers["ln -s"] = host.answers["ln -sfn "] = ""
        host.links = {}
        autostart(host)


def test_an_entry_of_another_name_that_starts_the_guest_is_enough() -> None:
    host = Late()
    host.links = {"/etc/xen/auto/10-off": "/etc/xen/off.cfg"}
    autostart(host)
    assert list(host.links) == ["/etc/xen/auto/10-off"]


def test_undone_guests_that_start_with_the_host_since_still_do() -> None:
    host = Late()
    host.enabled = False
    host.files["/etc/xen/web.cfg"] = b'name = "web"\nmemory = 64\n'
    autostart(host)
    do(host, "guest-autostart", guest="web")
    assert undo(host, "guest-autostart", "off").result == "undone" and host.enabled
    assert undo(host, "guest-autostart", "web").result == "undone"
    host = Late()
    host.enabled = False
    autostart(host)
    assert undo(host, "guest-autostart", "off").result == "undone" and not host.enabled


def test_an_entry_whose_configuration_went_away_meanwhile_goes_away() -> None:
    host = Late()
    autostart(host)
    host.lost = {ENTRY: host.links.pop(ENTRY)}
    assert undo(host, "guest-autostart", "off").result == "undone"
    assert (host.links, host.lost) == ({}, {})


def test_the_hosts_start_waits_for_the_guests_disks_until_that_is_undone() -> None:
    host = Late()
    done = autostart(host, disks_wait="60")
    assert done.result == "applied" and host.files[HELPER].decode() == SCRIPT
    assert done.actions[-1] == "xl create -q /etc/xen/off.cfg"
    unit = host.files[UNIT].decode()
    assert f'ExecStart=/bin/sh {HELPER} off 60 "/dev/vg/off" "/srv/nfs/my %%data$$.img"\n' in unit
    assert "\nBefore=xendomains.service\n" in unit and "\nWantedBy=xendomains.service\n" in unit
    assert [each.seen for each in done.evidence[3:]] == [
        "True", f"/bin/sh {HELPER} off 60 /dev/vg/off /srv/nfs/my %data$$.img", "True"
    ]  # fmt: skip
    host.changes.clear()
    assert (autostart(host, disks_wait="60").result, host.changes) == ("unchanged", [])
    assert undo(host, "guest-autostart", "off").result == "undone"
    assert (host.asked_for, UNIT in host.loaded, UNIT in host.files, HELPER in host.files) == (set(), *[False] * 3)


def test_another_time_other_disks_and_no_wait_are_taken_over() -> None:
    host = Late()
    autostart(host, disks_wait="60")
    assert autostart(host, disks_wait="90").result == "applied" and f"TimeoutStartSec={90 + 30}\n" in host._unit()
    host.disks[1]["pdev_path"] = "/srv/new.img"
    host.there.add("/srv/new.img")
    assert autostart(host, disks_wait="90").result == "applied" and '90 "/dev/vg/off" "/srv/new.img"\n' in host._unit()
    assert autostart(host).result == "applied"
    assert (host.asked_for, UNIT in host.files, HELPER in host.files) == (set(), False, False)
    assert host.links == {ENTRY: "/etc/xen/off.cfg"}


def test_a_wait_that_systemd_was_not_told_of_is_told_by_the_next_run() -> None:
    host = Late()
    host.answers[f"systemctl show -p NeedDaemonReload {SERVICE}"] = lambda _: (
        f"NeedDaemonReload={'no' if host._unit() == host.files.get(UNIT, b'').decode() else 'yes'}\n"
    )
    autostart(host, disks_wait="60")
    reload = host.answers["systemctl daemon-reload"]
    host.answers["systemctl daemon-reload"] = 1
    with pytest.raises(Failed):
        autostart(host, disks_wait="90")
    host.answers["systemctl daemon-reload"] = reload
    assert autostart(host, disks_wait="90").result == "applied"
    assert autostart(host, disks_wait="90").result == "unchanged"
    assert undo(host, "guest-autostart", "off").result == "undone" and host._unit() == ""


def test_a_journal_of_before_there_was_a_wait_is_undone() -> None:
    host = Late()
    autostart(host, disks_wait="60")
    journal = next(path for path in host.files if path.endswith("/guest-autostart@off.json"))
    record = json.loads(host.files[journal])
    for name in ("wait", "dangling", "disks"):
        del record["before"][name]
    del record["asked"]["disks_wait"]
    host.write(journal, json.dumps(record).encode())
    assert undo(host, "guest-autostart", "off").result == "undone"
    assert (host.links, host.asked_for, UNIT in host.files) == ({}, set(), False)


def test_a_wait_that_is_left_is_told_after_undoing() -> None:
    host = Late()
    autostart(host, disks_wait="60")
    host.answers[f"systemctl disable {SERVICE}"] = host.answers[f"rm -f -- {UNIT}"] = ""
    with pytest.raises(Unproven, match=r"wait: expected none, seen service and script [0-9a-f]{8}, none, enabled"):
        undo(host, "guest-autostart", "off")
    assert str(Wait()) == "none"


@pytest.mark.parametrize(("spoilt", "told"), [
    ({f"systemctl enable {SERVICE}": ""}, "asks for the wait and begins after it: expected True, seen False"),
    ({"systemctl daemon-reload": ""}, "what systemd begins for it: expected /bin/sh"),
    ({f"systemctl start {SERVICE}": 1}, "it ends well while the disks are there: expected True, seen False"),
])  # fmt: skip
def test_a_wait_that_does_nothing_is_disproven(spoilt: dict[str, Any], told: str) -> None:
    host = Late()
    host.answers |= spoilt
    with pytest.raises(Unproven) as caught:
        autostart(host, disks_wait="60")
    assert told in str(caught.value)


@pytest.mark.parametrize("more", [
    {}, {"pdev_path": "iqn=iqn.2001-05.com.example:storage,portal=10.0.0.1:3260", "script": "block-iscsi"},
    {"pdev_path": "", "is_cdrom": 1}, {"pdev_path": "/dev/vg/theirs", "backend_domname": "storage"},
])  # fmt: skip
def test_a_guest_without_disks_that_can_be_waited_for_is_refused(more: dict[str, object]) -> None:
    host = Late(())
    host.disks = [{"vdev": "xvda", "format": "raw", **more}]
    with pytest.raises(Refused) as caught:
        autostart(host, disks_wait="60")
    assert [refusal.code for refusal in caught.value.refusals] == ["no-disks"] and host.changes == []
    host.disks.append({"pdev_path": "/dev/vg/off", "vdev": "xvdb"})
    assert disks_in(host, "/etc/xen/off.cfg") == ("/dev/vg/off",)
    assert disks_in(host, "/etc/xen/nothing.cfg") == ()
    assert do(Late(()), "guest-autostart", guest="off").result == "applied"


def test_xapi_waits_for_no_disks() -> None:
    procedure = load_procedure("guest-autostart")
    way: Any = procedure.ways["xe"]
    asked = parse_options(procedure, {"guest": "web", "disks_wait": "60"})
    assert [refusal.code for refusal in way.refusals(way.sample, asked)] == ["no-wait"]
    assert way.refusals(way.sample, parse_options(procedure, {"guest": "web"})) == ()
    # where nothing is to be done nothing is refused: then the check says it
    answers = {"xe vm-list": "VM-UUID\n", "xe pool-list": "POOL-UUID\n"}
    assert [each.ok for each in way.check(None, FakeHost(answers), asked)] == [True, True, False]


@pytest.fixture
def script(tmp_path: Path) -> Path:
    (tmp_path / "wait.sh").write_text(SCRIPT)
    return tmp_path / "wait.sh"


def wait(script: Path, seconds: int, *disks: Path) -> tuple[int, str, str]:
    done = subprocess.run(["sh", script, "web", str(seconds), *disks], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def test_the_disk_that_does_not_come_is_named_and_not_waited_for_any_longer(script: Path, tmp_path: Path) -> None:
    here, absent, dangling = tmp_path / "my disk.img", tmp_path / "absent.img", tmp_path / "link"
    here.touch()
    dangling.symlink_to(absent)
    assert wait(script, 0, here, Path("/dev/null")) == (0, "web: all its disks are there\n", "")
    begun = time.monotonic()
    assert wait(script, 2, absent, here, dangling) == (
        1, f"web: waiting for {absent} {dangling}\n", f"web: not there after 2 seconds: {absent} {dangling}\n"
    )  # fmt: skip
    assert time.monotonic() - begun >= 1  # whole seconds are counted


def test_a_disk_that_comes_late_is_waited_for(script: Path, tmp_path: Path) -> None:
    late = tmp_path / "late.img"
    timer = threading.Timer(0.5, late.touch)
    timer.start()
    assert wait(script, 600, late) == (0, f"web: waiting for {late}\nweb: all its disks are there\n", "")


def test_an_array_that_is_not_started_is_not_there(script: Path, tmp_path: Path) -> None:
    """A block device without a size, and one with: the kernel's folder and `test` stand in for what cannot be made."""
    for name, size in (("md0", "0\n"), ("md1", "2097152\n")):
        (tmp_path / "class" / name).mkdir(parents=True)
        (tmp_path / "class" / name / "size").write_text(size)
        (tmp_path / name).touch()
    text = SCRIPT.replace("/sys/class/block", str(tmp_path / "class")).replace('[ ! -b "$path" ] || ', "")
    script.write_text(text)
    assert wait(script, 0, tmp_path / "md1")[0] == 0
    assert wait(script, 0, tmp_path / "md0", tmp_path / "md1") == (
        1, "", f"web: not there after 0 seconds: {tmp_path / 'md0'}\n"
    )  # fmt: skip
