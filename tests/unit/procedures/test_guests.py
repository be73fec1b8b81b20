"""Procedures that deal with guests: of a plain Xen host, and their memory with XAPI as well."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from builder.errors import LabError
from builder.procedures import load_procedure
from builder.procedures.api import Card
from builder.procedures.engine import Engine, Outcome
from builder.procedures.errors import Failed, Refused, Unproven
from builder.procedures.guests import BLANK, drill_guest
from builder.procedures.options import parse_options
from tests.support.fake_host import FakeHost, world
from tests.support.fake_xapi import FakeXapi
from tests.support.xe_rules import problems
from tests.unit.procedures.test_xe import VM

MIB = 1 << 20


class XlHost(FakeHost):
    """Guests by name with their MiB; configurations are files below /etc/xen. `deaf` guests ignore a shutdown."""

    def __init__(self, guests: dict[str, int], *, deaf: Sequence[str] = ()) -> None:
        files = {f"/etc/xen/{name}.cfg": f'name = "{name}"\nmemory = {mib}\n' for name, mib in guests.items()}
        super().__init__({}, {**files, "/etc/xen/off.cfg": "name='off'\nmemory=64\n"})
        self.running = dict(guests)
        self.screen = 0  # MiB, of guests that have one: what xl list shows has it, what the balloon is told has not
        self.deaf = deaf
        self.dying: list[str] = []
        self.links: dict[str, str] = {}
        self.enabled = True
        self.answers = {
            "xl list -l": self._details,
            "xl list": lambda _: self._list(),
            "xl info": "free_memory : 500\n",
            "xl create": self._create,
            "xl mem-set": self._mem_set,
            "timeout": lambda argv: self._shutdown(argv[6]),
            "xenstore-read": self._xenstore,
            "systemctl -q is-enabled": lambda _: "" if self.enabled else 1,
            "systemctl enable": lambda _: self._enable(True),
            "systemctl disable": lambda _: self._enable(False),
            "sh -c 'set -- /etc/xen/*": lambda _: self._configurations(),
            "sh -c '[ ! -r": "/etc/xen/auto\n",
            "sh -c '\nfor entry in": lambda _: self._entries(),
            "sh -c 'for i in $(seq 60); do [": lambda _: self._clear_away(),
            "sh -c 'for i in $(seq 90)": lambda argv: "" if argv[4] in self.running else 1,
            "sh -c 'for i in $(seq 60)": lambda argv: f"{self.running[argv[4]]}\n",
            "test -e /etc/xen/auto/": lambda argv: "" if argv[2] in self.links else 1,
            "readlink -f": lambda argv: self.links[argv[2]] + "\n",
            "mkdir -p": "",
            "ln -s": lambda argv: self.links.update({argv[3]: argv[2]}) or "",
            "rm -f -- /etc/xen/auto/": lambda argv: self.links.pop(argv[3], "") and "",
        }
        self.on_reboot = self._restart

    def _list(self) -> str:
        rows = [
            ("Domain-0", 0, 1024),
            *((name, number, mib) for number, (name, mib) in enumerate(self.running.items(), 1)),
        ]
        return "Name ID Mem VCPUs State Time(s)\n" + "".join(f"{n} {i} {m} 1 -b---- 1.0\n" for n, i, m in rows)

    def _details(self, argv: Sequence[str]) -> str:
        assert argv[3] in self.running
        return json.dumps([{"domid": 1, "config": {"b_info": {"max_memkb": 256 * 1024}}}])

    def _xenstore(self, argv: Sequence[str]) -> str | int:
        if argv[1].endswith("videoram"):
            return str(self.screen * 1024) if self.screen else 1
        number = int(argv[1].split("/")[3])
        mib = list(self.running.values())[number - 1]
        return f"{(256 if argv[1].endswith('static-max') else mib - self.screen) * 1024}\n"

    def _create(self, argv: Sequence[str]) -> str:
        config = self.files[argv[3]].decode()
        name = re.findall(r"name *= *[\"'](.*)[\"']", config)[0]
        self.running[name] = int(re.findall(r"memory *= *(\d+)", config)[0])
        return ""

    def _mem_set(self, argv: Sequence[str]) -> str:
        size = int(argv[3][:-1])
        self.running[argv[2]] = size if argv[3].endswith("m") else size // 1024
        return ""

    def _shutdown(self, name: str) -> str | int:
        if name in self.deaf:
            return 124
        self.dying.append(name)
        return ""

    def _clear_away(self) -> str:
        """`xl shutdown -w` is back before the guest is off the list, as on real Xen."""
        for name in self.dying:
            del self.running[name]
        self.dying.clear()
        return ""

    def _enable(self, enabled: bool) -> str:
        self.enabled = enabled
        return ""

    def _configurations(self) -> str:
        paths = [path for path in self.files if path.startswith("/etc/xen/")]
        return "".join(f"{path}:{self.files[path].decode().splitlines()[0]}\n" for path in paths)

    def _entries(self) -> str:
        there = {path: self.files[target].decode() for path, target in self.links.items() if target in self.files}
        return "".join(f"link {path}:{text.splitlines()[0]}\n" for path, text in sorted(there.items()))

    def _restart(self) -> None:
        started = [target for target in self.links.values() if self.enabled]
        self.running.clear()
        self.dying.clear()
        for path in started:
            self._create(("xl", "create", "-q", path))


def do(host: FakeHost, name: str, **options: str) -> Outcome:
    procedure = load_procedure(name)
    return Engine(world(host), sleep=lambda _: None).run("dom0", procedure, parse_options(procedure, options))


def undo(host: FakeHost, name: str, subject: str = "") -> Outcome:
    return Engine(world(host), sleep=lambda _: None).undo("dom0", load_procedure(name), subject)


def test_maintenance_stops_guests_and_brings_back_those_that_ran() -> None:
    host = XlHost({"web": 128, "db": 256})
    assert do(host, "maintenance", then="restart").rebooted
    assert (host.running, host.enabled) == ({}, False)
    assert do(host, "maintenance", then="restart").result == "unchanged"
    assert undo(host, "maintenance").result == "undone"
    assert (host.running, host.enabled) == ({"db": 256, "web": 128}, True)
    assert undo(host, "maintenance").result == "nothing"


def test_a_guest_that_ignores_a_shutdown_ends_it_there_and_can_be_undone() -> None:
    host = XlHost({"ant": 64, "deaf": 128, "zoo": 64}, deaf=("deaf",))
    with pytest.raises(Failed) as caught:
        do(host, "maintenance", then="restart")
    assert "deaf does not shut down" in str(caught.value) and "force=true" in str(caught.value)
    assert "done: timeout 120 xl shutdown -F -w ant" in str(caught.value)
    host.run(["sh", "-c", "for i in $(seq 60); do [ it is gone"])
    assert set(host.running) == {"deaf", "zoo"} and "reboot" not in host.changes
    assert undo(host, "maintenance").result == "undone"
    assert set(host.running) == {"ant", "deaf", "zoo"} and host.enabled


def test_with_force_such_a_guest_is_destroyed() -> None:
    procedure = load_procedure("maintenance")
    way = procedure.ways["xl"]
    asked = parse_options(procedure, {"force": "true", "wait": "5"})
    action = way.actions(way.sample, asked)[-1]
    assert action.argv[:3] == ("sh", "-c", '"$@" || xl destroy "${7}"')  # type: ignore[union-attr]
    assert action.argv[3:] == ("sh", "timeout", "5", "xl", "shutdown", "-F", "-w", "web")  # type: ignore[union-attr]


def test_a_guest_whose_file_is_not_known_is_not_stopped() -> None:
    host = XlHost({"web": 128})
    del host.files["/etc/xen/web.cfg"]
    with pytest.raises(Refused) as caught:
        do(host, "maintenance", guests="move")
    assert [refusal.code for refusal in caught.value.refusals] == ["no-configuration", "no-pool"]
    assert host.changes == [] and host.enabled


def test_a_guest_starts_with_its_host_until_that_is_undone() -> None:
    host = XlHost({})
    host.enabled = False
    assert do(host, "guest-autostart", guest="off").result == "applied"
    assert (host.links, host.enabled) == ({"/etc/xen/auto/off.cfg": "/etc/xen/off.cfg"}, True)
    assert do(host, "guest-autostart", guest="off").result == "unchanged"
    host.reboot(wait=1)
    assert "off" in host.running
    assert undo(host, "guest-autostart", "off").result == "undone"
    assert (host.links, host.enabled) == ({}, False)


@pytest.mark.parametrize(("guest", "folder", "codes"), [
    ("nobody", "/etc/xen/auto", ["no-configuration"]), ("off", "/srv/guests", ["other-folder"]),
    ("nobody", "", ["no-configuration", "other-folder"]),
])  # fmt: skip
def test_what_could_not_start_a_guest_is_refused(guest: str, folder: str, codes: list[str]) -> None:
    host = XlHost({})
    host.answers["sh -c '[ ! -r"] = f"{folder}\n"
    with pytest.raises(Refused) as caught:
        do(host, "guest-autostart", guest=guest)
    assert [refusal.code for refusal in caught.value.refusals] == codes
    assert host.changes == []


def test_memory_goes_down_and_comes_back() -> None:
    host = XlHost({"web": 192, "db": 128})
    assert do(host, "guest-memory", guest="web", size="160MiB").result == "applied"
    assert do(host, "guest-memory", guest="web", size="160MiB").result == "unchanged"
    assert do(host, "guest-memory", guest="web", size="256MiB").result == "applied"
    assert host.running == {"web": 256, "db": 128}
    assert undo(host, "guest-memory").result == "undone"
    assert host.running["web"] == 192


@pytest.mark.parametrize(
    ("guest", "size", "code"),
    [("web", "257MiB", "beyond-start"), ("web", "32MiB", "too-small"), ("off", "128MiB", "not-running")],
)
def test_memory_that_cannot_be_had_is_refused(guest: str, size: str, code: str) -> None:
    host = XlHost({"web": 192})
    with pytest.raises(Refused) as caught:
        do(host, "guest-memory", guest=guest, size=size)
    assert [refusal.code for refusal in caught.value.refusals] == [code]
    assert host.changes == []


def test_memory_that_the_host_has_not_is_refused() -> None:
    host = XlHost({"web": 192})
    host.answers["xl info"] = "free_memory : 10\n"
    with pytest.raises(Refused, match="no-memory"):
        do(host, "guest-memory", guest="web", size="256MiB")


def tool(folder: Path, name: str, *answers: str, head: str = ":") -> Path:
    """A program that says these, one each time, the last again and again, and notes in a file what it was asked. Nobody
    sleeps meanwhile."""
    first = "".join(f"{number}) echo {shlex.quote(answer)} ;;\n" for number, answer in enumerate(answers[:-1], 1))
    last = f"echo {shlex.quote(answers[-1])}"
    (folder / name).write_text(
        f'#!/bin/sh\necho "$*" >>"$0.asked"\n{head}\n'
        + (f'case $(wc -l <"$0.asked") in\n{first}*) {last} ;;\nesac\n' if first else f"{last}\n")
    )
    (folder / name).chmod(0o755)
    (folder / "sleep").symlink_to("/bin/true")
    return folder / f"{name}.asked"


@pytest.mark.parametrize("screen", [0, 16])
def test_a_guests_screen_is_part_of_its_memory(screen: int) -> None:
    """As libxl_set_memory_target() of Xen's libxl_mem.c has it: memory/target is what is asked for without it."""
    host = XlHost({"web": 192})
    host.screen = screen
    assert do(host, "guest-memory", guest="web", size="160MiB").result == "applied"
    assert do(host, "guest-memory", guest="web", size="160MiB").result == "unchanged"
    assert undo(host, "guest-memory", "web").result == "undone" and host.running["web"] == 192


class Balloon(FakeXapi):
    """A guest of XAPI; the shell that waits for its memory is really run, with the tools of a folder."""

    def __init__(self, folder: Path) -> None:
        size = str(1 << 30)
        super().__init__(
            {"vm": {VM: {"name-label": "web", "is-control-domain": "false", "power-state": "running",
                         "memory-dynamic-min": size, "memory-dynamic-max": size, "memory-static-max": size,
                         "memory-actual": size}}},
            {"xl info": "free_memory : 500\n", "xe vm-memory-dynamic-range-set": self._range,
             "sh -c": lambda argv: really(folder, argv)}, {},
        )  # fmt: skip

    def _range(self, argv: Sequence[str]) -> str:
        assert problems(argv[1:], "8.3") == []
        given = dict(word.split("=") for word in argv[2:])
        self.objects["vm"][VM] |= {"memory-dynamic-min": given["min"], "memory-dynamic-max": given["max"]}
        return ""


def really(folder: Path, argv: Sequence[str]) -> str:
    done = subprocess.run(argv, env={"PATH": f"{folder}:/usr/bin:/bin"}, capture_output=True, text=True, check=True)
    return done.stdout


def test_xapi_is_asked_until_the_balloon_is_where_it_should_be(tmp_path: Path) -> None:
    asked = tool(tmp_path, "xe", *(str(mib * MIB) for mib in (1024, 1024, 700, 514)))
    done = do(Balloon(tmp_path), "guest-memory", guest="web", size="512MiB")
    assert [(each.what, each.expected, each.seen) for each in done.evidence] == [
        ("memory of web by XAPI", "508 to 516 MiB", "514 MiB")
    ]
    calls = asked.read_text().splitlines()
    assert calls == [f"vm-param-get uuid={VM} param-name=memory-actual"] * 4
    assert problems(calls[0].split(), "8.3") == []


@pytest.mark.parametrize(("said", "seen"), [(str(1 << 30), "1024 MiB"), ("<not in database>", "<not in database>"),
                                            ("", "nothing"), (str(517 * MIB), "517 MiB")])  # fmt: skip
def test_a_balloon_that_never_gets_there_is_told_after_a_minute(tmp_path: Path, said: str, seen: str) -> None:
    asked = tool(tmp_path, "xe", said)
    with pytest.raises(Unproven, match=f"memory of web by XAPI: expected 508 to 516 MiB, seen {seen}"):
        do(Balloon(tmp_path), "guest-memory", guest="web", size="512MiB")
    assert len(asked.read_text().splitlines()) == 60


def test_xl_is_asked_until_the_balloon_is_where_it_should_be(tmp_path: Path) -> None:
    """Its table is made as by list_domains of Xen's tools/xl/xl_list.c."""
    rows = (f"{'web':<40} {3:5} {mib:5} {1:5}     -b----  {1.0:8.1f}" for mib in (192, 170, 160))
    head = r"printf 'Name                                        ID   Mem VCPUs\tState\tTime(s)\n'"
    asked = tool(tmp_path, "xl", *rows, head=head)
    way, procedure = load_procedure("guest-memory").ways["xl"], load_procedure("guest-memory")
    host = FakeHost({"sh -c": lambda argv: really(tmp_path, argv)})
    (found,) = way.check(world(host), host, parse_options(procedure, {"guest": "web", "size": "160MiB"}))
    assert (found.what, found.expected, found.seen, found.ok) == (
        "memory of web by xl list", "156 to 164 MiB", "160 MiB", True
    )  # fmt: skip
    assert asked.read_text() == "list web\n" * 3


def test_a_guests_name_is_one_word_of_a_file_name() -> None:
    procedure: Any = load_procedure("guest-autostart")
    with pytest.raises(Exception, match="cannot be asked for that"):
        parse_options(procedure, {"guest": "../../etc/passwd"})


DOM0 = "Name ID Mem VCPUs State Time(s)\nDomain-0 0 1024 2 r----- 1.0\n"


def made(caps: str, held: str = "") -> FakeHost:
    """A host on which a drill's guest can be made."""
    return FakeHost({
        "xl info": f"virt_caps : {caps}\n", "xl list": DOM0, "xl create": "", "uname -r": "6.12\n", "mkdir": "",
        "sh -c": lambda argv: f"{held}\n" if argv[2] == BLANK else "", "rm -rf": "",
    })  # fmt: skip


def test_a_drills_guest_is_of_a_kind_that_the_host_can_run() -> None:
    host = made("pv hvm hap")
    with drill_guest(host, kind="pvh"):
        assert b'type = "pvh"\n' in host.files["/etc/xen/nestlab-drill.cfg"]
    host = made("pv")
    with pytest.raises(LabError, match="runs no pvh guests: its processor"), drill_guest(host, kind="pvh"):
        pass
    assert host.changes == []


def test_a_drills_guest_writes_to_an_empty_disk_alone() -> None:
    host = made("pv")
    with drill_guest(host, Card("xenbr1", "10.10.0.77/24"), disk="/dev/sdz"):
        assert b"backendtype=phy,target=/dev/sdz" in host.files["/etc/xen/nestlab-drill.cfg"]
        assert b"sh /writer /dev/xvda &\n" in host.files["/var/lib/nestlab/drill/root/init"]
    host = made("pv", held="ext4")
    with pytest.raises(LabError, match="/dev/sdz holds ext4: a drill writes"), drill_guest(host, disk="/dev/sdz"):
        pass
    assert host.changes == []
