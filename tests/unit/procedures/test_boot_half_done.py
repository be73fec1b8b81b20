"""Boot arguments where somebody was stopped half way, and checks that are not content with what was there."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from builder.procedures import load_procedure
from builder.procedures.api import Reboot
from builder.procedures.boot import UNREAD, Grub
from builder.procedures.engine import Engine, Outcome
from builder.procedures.errors import Failed, Refused, Unproven
from builder.procedures.options import parse_options
from tests.support.fake_dom0 import FakeDom0
from tests.support.fake_host import world

MENU = "/boot/grub/grub.cfg"


class Stopped(FakeDom0):
    """A dom0 whose connection may be lost at update-grub. `find` tells what changed since that was run last."""

    def __init__(self, folder: Path, *, cpus: int = 4) -> None:
        self.lost = False
        super().__init__(folder, cpus=cpus)
        self.answers |= {"update-grub": lambda _: 255 if self.lost else self.update_grub(), "find ": self._find}

    QUESTIONS = (*FakeDom0.QUESTIONS, "find ")

    def update_grub(self) -> str:
        super().update_grub()
        self.known = {path for path in self.files if "zz-nestlab" in path}
        return ""

    def _find(self, argv: Sequence[str]) -> str:
        assert tuple(argv) == UNREAD
        return "/etc/default/grub.d\n" * (self.known != {path for path in self.files if "zz-nestlab" in path})


def do(host: FakeDom0, name: str, **options: str) -> Outcome:
    procedure = load_procedure(name)
    return Engine(world(host), sleep=lambda _: None).run("dom0", procedure, parse_options(procedure, options))


def undo(host: FakeDom0, name: str, subject: str = "") -> Outcome:
    return Engine(world(host), sleep=lambda _: None).undo("dom0", load_procedure(name), subject)


@pytest.fixture
def dom0(tmp_path: Path) -> Stopped:
    return Stopped(tmp_path / "grub")


def test_an_undo_stopped_before_update_grub_is_ended_by_the_next(
    dom0: Stopped, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The host was not restarted in between: what runs is as before, and what the next start reads is not."""
    menu = dom0.files[MENU]
    monkeypatch.setattr(dom0, "reboot", lambda **_: (_ for _ in ()).throw(Failed("dom0", "x", [], Reboot("y"), "lost")))
    with pytest.raises(Failed):
        do(dom0, "dom0-memory", size="2GiB")
    assert dom0.files[MENU] != menu
    dom0.lost = True
    with pytest.raises(Failed):
        undo(dom0, "dom0-memory")
    dom0.lost = False
    assert undo(dom0, "dom0-memory").actions == ("update-grub",)
    assert dom0.files[MENU] == menu


def test_a_run_stopped_before_update_grub_is_ended_by_the_next(dom0: Stopped, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(dom0, "reboot", lambda **_: (_ for _ in ()).throw(Failed("dom0", "x", [], Reboot("y"), "lost")))
        with pytest.raises(Failed):
            do(dom0, "dom0-memory", size="2GiB")
    dom0.known = set()  # a drop-in of another text
    dom0.lost = True
    with pytest.raises(Failed):
        do(dom0, "dom0-memory", size="1GiB")
    dom0.lost = False
    do(dom0, "dom0-memory", size="1GiB")
    assert b"dom0_mem=1024M,max:1024M" in dom0.files[MENU] and b"2048M" not in dom0.files[MENU]
    assert do(dom0, "dom0-memory", size="1GiB").result == "unchanged"


def test_what_is_newer_than_the_menu_is_found(tmp_path: Path) -> None:
    folder, menu = tmp_path / "grub.d", tmp_path / "grub.cfg"
    folder.mkdir()
    ours = folder / Path(Grub.path("x")).name
    for path in (menu, folder / "xen.cfg", ours):
        path.touch()

    def found() -> bool:
        call = [{"/etc/default/grub.d": str(folder), MENU: str(menu)}.get(word, word) for word in UNREAD]
        return subprocess.run(call, capture_output=True, text=True, check=True).stdout != ""

    os.utime(menu, (2e9, 2e9))
    assert not found()
    os.utime(folder / "xen.cfg", (2e9 + 5, 2e9 + 5))
    assert not found()  # of somebody else, who has update-grub run himself
    os.utime(ours, (2e9 + 5, 2e9 + 5))
    assert found()
    ours.unlink()
    os.utime(folder, (2e9 + 5, 2e9 + 5))
    assert found()


# The lines of keyhandler.c in Xen 4.17 to 4.20, as xl dmesg shows them.
HELP = "(XEN) 'h' pressed -> showing installed handlers\n(XEN)  key '%' (ascii '25') => trap to xendbg\n"
DOMAINS = "(XEN) 'q' pressed -> dumping domain info (now = {0})\n(XEN) General information for domain 0:\n"


def test_answers_of_earlier_debug_keys_are_none(dom0: Stopped) -> None:
    do(dom0, "debug-mode")
    dom0.keys = [HELP, DOMAINS.format(1)]
    dom0.answers["xl debug-keys"] = ""
    with pytest.raises(Unproven, match="expected an answer, seen nothing"):
        do(dom0, "debug-mode")


def test_answers_are_seen_in_a_log_that_is_full(dom0: Stopped) -> None:
    ring = "".join(HELP + DOMAINS.format(number) for number in range(20))[-1000:]

    def press(argv: Sequence[str]) -> str:
        nonlocal ring
        ring = (ring + (HELP if argv[2] == "h" else DOMAINS.format(99)))[-1000:]
        return ""

    dom0.answers |= {"xl dmesg": lambda _: ring, "xl debug-keys": press}
    assert do(dom0, "debug-mode").result == "applied"
    assert do(dom0, "debug-mode").result == "unchanged"


def test_parameters_of_drivers_have_capitals(dom0: Stopped) -> None:
    """As e1000e's of the kernel's own documentation: IntMode, InterruptThrottleRate, SmartPowerDownEnable."""
    assert do(dom0, "nic-quirk", key="e1000e.IntMode", value="1").result == "applied"
    assert "e1000e.IntMode=1" in dom0.kernel
    assert undo(dom0, "nic-quirk", "e1000e.IntMode").result == "undone"
    assert "IntMode" not in dom0.kernel


@pytest.mark.parametrize("key", ["console", "xen-pciback.hide", "xen_pciback.hide"])
def test_keys_of_other_procedures_stay_theirs_however_they_are_written(dom0: Stopped, key: str) -> None:
    with pytest.raises(Refused, match="other-procedure"):
        do(dom0, "nic-quirk", key=key, value="x")


def test_a_pinned_cpu_of_a_host_with_one(tmp_path: Path) -> None:
    """xl's print_bitmap (tools/xl/xl_vcpu.c) has `all` for a mask with every CPU of the host in it."""
    host = Stopped(tmp_path / "grub", cpus=1)
    host.answers["xl vcpu-list 0"] = (
        "Name                                ID  VCPU   CPU State   Time(s) Affinity (Hard / Soft)\n"
        "Domain-0                             0     0    0   r--      83.5  all / all\n"
    )
    assert do(host, "dom0-vcpus", count="1").result == "applied"
