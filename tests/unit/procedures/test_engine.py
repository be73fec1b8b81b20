"""The engine: order of things, what it keeps, and every way of not succeeding."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from builder.errors import LabError, TimedOut, UsageError
from builder.procedures import load_procedure
from builder.procedures.engine import Engine
from builder.procedures.errors import Failed, Unproven
from builder.procedures.journal import FOLDER
from builder.procedures.options import parse_options, split_options
from tests.support.fake_dom0 import FakeDom0
from tests.support.fake_host import DeadHost, FakeHost, world

QUIRK = load_procedure("nic-quirk")
ASKED = parse_options(QUIRK, {})
JOURNAL = f"{FOLDER}/nic-quirk@pcie_aspm.json"


@pytest.fixture
def dom0(tmp_path: Path) -> FakeDom0:
    return FakeDom0(tmp_path / "grub")


def engine(host: FakeHost) -> Engine:
    return Engine(world(host), sleep=lambda _: None)


def test_what_was_before_is_kept_before_the_first_change(dom0: FakeDom0) -> None:
    engine(dom0).run("dom0", QUIRK, ASKED)
    assert dom0.changes[:3] == [f"install -d -m 0700 {FOLDER}", f"write {JOURNAL}",
                                "write /etc/default/grub.d/zz-nestlab-nic-quirk-pcie_aspm.cfg"]  # fmt: skip
    assert dom0.modes[JOURNAL] == 0o600
    record = json.loads(dom0.files[JOURNAL])
    assert (record["v"], record["before"]["running"]) == (1, {"kernel pcie_aspm": ""})


def test_a_failing_action_leaves_the_journal_and_names_what_was_done(dom0: FakeDom0) -> None:
    dom0.answers["update-grub"] = 1
    with pytest.raises(Failed) as caught:
        engine(dom0).run("dom0", QUIRK, ASKED)
    assert "failed at: update-grub" in str(caught.value)
    assert "done: write /etc/default/grub.d/zz-nestlab-nic-quirk-pcie_aspm.cfg" in str(caught.value)
    assert "procedure undo" in str(caught.value.hint)
    assert "reboot" not in dom0.changes

    dom0.answers["update-grub"] = lambda _: dom0.update_grub()
    assert engine(dom0).undo("dom0", QUIRK).result == "undone"
    assert [path for path in dom0.files if "nic-quirk" in path] == []


def test_an_argument_that_does_not_reach_the_boot_menu_ends_it_before_the_restart(dom0: FakeDom0) -> None:
    dom0.answers["update-grub"] = ""
    with pytest.raises(Failed, match="failed at: grep"):
        engine(dom0).run("dom0", QUIRK, ASKED)
    assert "reboot" not in dom0.changes


def test_a_host_that_does_not_come_back_is_told(tmp_path: Path) -> None:
    class Gone(DeadHost, FakeDom0):
        pass

    with pytest.raises(Failed, match="another boot id"):
        engine(Gone(tmp_path / "grub")).run("dom0", QUIRK, ASKED)


def test_an_effect_that_is_not_there_is_no_success(dom0: FakeDom0) -> None:
    dom0.on_reboot = lambda: None  # as if another entry had been booted
    with pytest.raises(Unproven, match="expected pcie_aspm=off, seen no pcie_aspm"):
        engine(dom0).run("dom0", QUIRK, ASKED)
    assert JOURNAL in dom0.files


def test_an_undo_that_does_not_bring_it_back_keeps_the_journal(dom0: FakeDom0) -> None:
    engine(dom0).run("dom0", QUIRK, ASKED)
    dom0.on_reboot = lambda: None
    with pytest.raises(Unproven, match="not as it was"):
        engine(dom0).undo("dom0", QUIRK)
    assert JOURNAL in dom0.files


def test_a_toolstack_that_stays_away_after_a_restart_is_a_timeout(dom0: FakeDom0) -> None:
    dom0.answers["xl info"] = 1
    with pytest.raises(TimedOut, match="xl info"):
        engine(dom0).reboot("dom0", "xl")


@pytest.mark.parametrize(
    ("text", "said"),
    [("{", "no journal"), ('{"v": 2}', "version 2"), ('{"v": 1}', "no journal"), ("[]", "no journal"),
     ('{"v": 1, "procedure": "nic-quirk", "dialect": "xl", "asked": {"key": "pcie_aspm"}, "before": {"x": 1}}',
      "cannot be read")],
)  # fmt: skip
def test_a_journal_that_is_not_ours_is_never_acted_on(dom0: FakeDom0, text: str, said: str) -> None:
    dom0.files[JOURNAL] = text.encode()
    with pytest.raises(LabError, match=said):
        engine(dom0).undo("dom0", QUIRK, "pcie_aspm")
    assert dom0.changes == []


def test_of_two_applications_the_user_says_which(dom0: FakeDom0) -> None:
    for key in ("pcie_aspm", "pci"):
        engine(dom0).run("dom0", QUIRK, parse_options(QUIRK, {"key": key, "value": "off"}))
    with pytest.raises(UsageError, match="more than once") as caught:
        engine(dom0).undo("dom0", QUIRK)
    assert caught.value.hint == "say which: key=pcie_aspm, key=pci"
    assert engine(dom0).undo("dom0", QUIRK, "pci").result == "undone"
    assert engine(dom0).undo("dom0", QUIRK).result == "undone"
    assert "pcie_aspm" not in dom0.kernel


@pytest.mark.parametrize(("dialect", "said"), [("none", "has no hypervisor"), ("xe", "is driven by xe")])
def test_a_host_of_another_kind_is_refused(dialect: str, said: str) -> None:
    with pytest.raises(LabError, match=said):
        engine(FakeHost({}, dialect=dialect)).run(
            "dom0", load_procedure("autoballoon-off"), parse_options(load_procedure("autoballoon-off"), {})
        )


def test_every_step_is_told(dom0: FakeDom0) -> None:
    told: list[tuple[str, object, object]] = []

    def tell(kind: str, **what: object) -> None:
        told.append((kind, what.get("phase"), what.get("outcome")))

    Engine(world(dom0), tell=tell).run("dom0", QUIRK, ASKED)
    assert told[0] == ("begin", "look", None)
    assert told.count(("end", "act", "ok")) == 4
    assert told[-1] == ("end", "check", "ok")


@pytest.mark.parametrize("words", [["size"], ["=1"], ["size=1GiB", "size=2GiB"]])
def test_options_are_key_value_once_each(words: list[str]) -> None:
    with pytest.raises(UsageError):
        split_options(words)


def test_every_mistake_in_options_is_told_at_once() -> None:
    with pytest.raises(UsageError) as caught:
        parse_options(load_procedure("dom0-vcpus"), {"pin": "perhaps", "speed": "9"})
    for part in ("count: this must be given", "pin: ", "speed: there is no such option", "it takes: count, pin=true"):
        assert part in str(caught.value)


def test_an_unknown_procedure_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="no procedure 'magic'"):
        load_procedure("magic")
