"""Guest tools: what is done in the guest, and what the host sees of it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

import pytest

from builder.procedures import load_procedure
from builder.procedures.engine import Engine, Outcome
from builder.procedures.errors import Failed, Refused, Unproven
from builder.procedures.options import parse_options
from tests.support.fake_host import FakeHost, world
from tests.unit.procedures.test_xe import VM


class Router(FakeHost):
    """A host with a FreeBSD guest; each command in the guest is told apart by its words."""

    QUESTIONS = (*FakeHost.QUESTIONS, "xe vm-list")

    def __init__(self, dialect: str, *, system: str = "FreeBSD", has: Sequence[str] = ()) -> None:
        self.has, self.system, self.offline, self.mute = set(has), system, False, False
        super().__init__({
            "ssh": self._guest,
            "sh -c": lambda argv: "MajorVersion MinorVersion\n" if "runs" in self.has and not self.mute
            and argv[4] == "/local/domain/3/attr/PVAddons" else "\n",
            "xl list": "Name ID Mem VCPUs State Time(s)\nDomain-0 0 1024 2 r----- 1.0\nrouter 3 512 1 -b---- 1.0\n",
            "xe vm-list": f"{VM}\n",
            f"xe vm-param-get uuid={VM} param-name=dom-id": "3\n",
        }, dialect=dialect)  # fmt: skip

    def _guest(self, argv: Sequence[str]) -> str | int:
        assert argv[-2] == "root@192.0.2.1"
        shell, option, script = shlex.split(argv[-1])
        assert (shell, option) == ("sh", "-c")
        if script.startswith("uname -s"):
            return "\n".join([self.system, *sorted(self.has)]) + "\n" if self.system else 255
        words = script.split()
        name = {"pkg": "installed", "sysrc": "enabled", "ln": "link", "rm": "link", "service": "runs"}[
            words[0] if words[0] != "env" else words[2]
        ]
        if name == "installed" and self.offline:
            return 70
        gone = words[0] == "rm" or "delete" in words or "-x" in words or "onestop" in words
        self.has = self.has - {name} if gone else self.has | {name}
        return ""


def do(host: Router) -> Outcome:
    procedure = load_procedure("guest-tools")
    asked = parse_options(procedure, {"guest": "router", "address": "192.0.2.1"})
    return Engine(world(host), sleep=lambda _: None).run("dom0", procedure, asked)


def undo(host: Router) -> Outcome:
    return Engine(world(host), sleep=lambda _: None).undo("dom0", load_procedure("guest-tools"))


@pytest.mark.parametrize("dialect", ["xl", "xe"])
@pytest.mark.parametrize("has", [(), ("installed",), ("installed", "enabled", "runs")])
def test_tools_come_into_the_guest_and_go_as_far_as_they_were_not_there(dialect: str, has: Sequence[str]) -> None:
    host = Router(dialect, has=has)
    done = do(host)
    assert (done.result, len(done.actions)) == ("applied", 4 - len(has))
    assert host.has == {"installed", "enabled", "link", "runs"}
    assert do(host).result == "unchanged"
    assert undo(host).result == "undone" and host.has == set(has)


@pytest.mark.parametrize(("system", "code"), [("", "no-ssh"), ("Linux", "other-system")])
def test_other_guests_are_left_alone(system: str, code: str) -> None:
    host = Router("xl", system=system)
    with pytest.raises(Refused, match=code):
        do(host)
    assert host.has == set()


def test_what_does_not_come_or_does_not_speak_is_told() -> None:
    host = Router("xl")
    host.offline = True
    with pytest.raises(Failed, match="pkg install"):
        do(host)
    host.offline, host.mute = False, True
    with pytest.raises(Unproven, match="versions of the tools, in xenstore: expected some, seen nothing"):
        do(host)
