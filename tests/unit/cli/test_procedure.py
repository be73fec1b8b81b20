"""`nestlab procedure`: what is printed, what is a usage error, and that a lab's hosts are reached the one way."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from builder.cli.boundary import guarded
from builder.errors import LabError
from builder.model.host import World
from builder.procedures import PROCEDURES, load_procedure
from builder.procedures.api import same
from builder.procedures.options import describe_options, parse_options, split_options
from tests.support.fake_dom0 import FakeDom0
from tests.support.fake_host import world


@pytest.fixture
def dom0(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeDom0:
    """A lab called `here` that is up, with one host that is none."""
    monkeypatch.setenv("NESTLAB_STATE", str(tmp_path / "state"))
    (tmp_path / "state/labs/here").mkdir(parents=True)
    host = FakeDom0(tmp_path / "grub")

    def status(lab: str, _: object) -> SimpleNamespace:
        assert lab == "here"
        return SimpleNamespace(accelerator="kvm", nodes=[SimpleNamespace(name="dom0")])

    def lab_world(lab: str, _: object) -> World:
        assert lab == "here"
        return world(host)

    monkeypatch.setattr("builder.lifecycle.status.status", status)
    monkeypatch.setattr("builder.lifecycle.world.LabWorld", lab_world)
    return host


def test_ls_names_every_procedure_with_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert guarded(["procedure", "ls", "-o", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == list(PROCEDURES)
    assert {"name", "title", "dialects", "options", "summary", "drilled"} == set(rows[0])
    assert guarded(["procedure", "ls"]) == 0
    assert capsys.readouterr().out.startswith("PROCEDURE")


@pytest.mark.parametrize("name", PROCEDURES)
def test_defaults_that_ls_shows_can_be_given(name: str) -> None:
    procedure = load_procedure(name)
    if not any(field.is_required() for field in procedure.options.model_fields.values()):
        words = [word for word in describe_options(procedure) if "=" in word]
        assert parse_options(procedure, split_options(words)) == procedure.options()


@pytest.mark.parametrize("name", PROCEDURES)
def test_show_says_how_it_is_done_in_each_dialect(capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert guarded(["procedure", "show", name]) == 0
    text = capsys.readouterr().out
    for heading in ("## Options", "## What is done", "## Proof", "## Sources"):
        assert text.count(f"\n{heading}\n") == 1
    assert ("nothing: it is only looked at" in text) == (name == "log-rotation")


def test_run_undo_and_dry_run(dom0: FakeDom0, capsys: pytest.CaptureFixture[str]) -> None:
    assert guarded(["procedure", "run", "here", "dom0", "nic-quirk", "--dry-run"]) == 0
    planned = capsys.readouterr().out
    assert "would do" in planned and "  update-grub\n" in planned
    assert dom0.changes == []

    assert guarded(["procedure", "run", "here", "dom0", "nic-quirk"]) == 0
    shown = capsys.readouterr()
    assert "done, and seen" in shown.out and "ok  dom0 kernel started with: pcie_aspm=off" in shown.out
    assert "dom0: nic-quirk: update-grub" in shown.err

    assert guarded(["procedure", "run", "here", "dom0", "nic-quirk", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["result"] == "unchanged"
    assert guarded(["procedure", "undo", "here", "dom0", "nic-quirk", "key=pcie_aspm"]) == 0
    assert "undone, and seen to be as before" in capsys.readouterr().out
    assert "pcie_aspm" not in dom0.kernel


def test_every_reason_against_it_is_told_and_nothing_is_done(
    dom0: FakeDom0, capsys: pytest.CaptureFixture[str]
) -> None:
    dom0.guests = {"web": 512}
    assert guarded(["procedure", "run", "here", "dom0", "dom0-memory", "size=8GiB"]) == 1
    said = capsys.readouterr().err
    assert "[larger-than-host]" in said and "[guests-run]" in said
    assert dom0.changes == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "here", "dom0", "magic"], "no procedure 'magic'"),
        (["run", "here", "dom0", "dom0-vcpus"], "count: this must be given"),
        (["run", "here", "dom0", "dom0-memory", "size=4"], "a size needs a unit"),
        (["run", "here", "dom0", "dom0-memory", "4GiB"], "no option of a procedure"),
        (["undo", "here", "dom0", "dom0-memory", "size=4GiB"], "takes no options"),
        (["undo", "here", "dom0", "nic-quirk", "value=off"], "undo takes key= only"),
        (["drill", "here"], "name the procedures to try"),
        (["drill", "here", "nic-quirk", "--all"], "name the procedures to try"),
        (["drill", "here", "nic-quirk", "dom0-memory", "size=2GiB"], "options are for a single procedure"),
        (["drill", "here", "nic-quirk", "size=2GiB"], "there is no such option"),
        (["drill", "here", "--all", "--node", "dom0", "--node", "dom9"], "the lab has no node dom9"),
    ],
)
def test_what_cannot_be_meant_is_a_usage_error(
    dom0: FakeDom0, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert guarded(["procedure", *words]) == 2
    assert said in capsys.readouterr().err
    assert dom0.changes == []


def test_a_drill_ends_in_a_table_and_a_record(
    dom0: FakeDom0, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = tmp_path / "record.json"
    before = dom0.xen, dom0.kernel
    assert guarded(["procedure", "drill", "here", "nic-quirk", "dom0-vcpus", "--out", str(out)]) == 0
    header, *rows = capsys.readouterr().out.splitlines()
    assert header.split()[:3] == ["PROCEDURE", "RELEASE", "NODE"]
    assert [row.split()[0] for row in rows] == ["nic-quirk", "dom0-vcpus"]
    assert all(row.split()[4:8] == ["yes", "yes", "yes", "yes"] for row in rows)
    assert (dom0.xen, dom0.kernel) == before
    record = json.loads(out.read_text())
    assert record == json.loads((tmp_path / "state/labs/here/procedures.json").read_text())
    steps = {step["name"]: step for step in record["drills"][0]["steps"]}
    assert list(steps) == ["run", "run again", "restart", "undo"]
    assert dom0.changes.count("reboot") == 6
    assert steps["restart"]["evidence"][0]["seen"] == "pcie_aspm=off"


@pytest.mark.parametrize("place", ["pipe", "nowhere/record.json"])
def test_a_record_that_cannot_be_written_is_told_before_hosts_are_broken(
    dom0: FakeDom0, capsys: pytest.CaptureFixture[str], tmp_path: Path, place: str
) -> None:
    """A pipe stands in for devices: no test names a real one, which a failure would replace."""
    os.mkfifo(tmp_path / "pipe")
    assert guarded(["procedure", "drill", "here", "--all", "--out", str(tmp_path / place)]) == 1
    assert f"{place} cannot be written" in capsys.readouterr().err
    assert dom0.changes == [] and (tmp_path / "pipe").is_fifo()


def test_a_node_that_is_named_twice_is_drilled_once(dom0: FakeDom0, capsys: pytest.CaptureFixture[str]) -> None:
    assert guarded(["procedure", "drill", "here", "nic-quirk", "--node", "dom0", "--node", "dom0", "-o", "json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["drills"]) == 1


def test_a_drill_takes_options_of_a_single_procedure(dom0: FakeDom0, capsys: pytest.CaptureFixture[str]) -> None:
    assert guarded(["procedure", "drill", "here", "nic-quirk", "key=pci", "value=noaer", "-o", "json"]) == 0
    (drilled,) = json.loads(capsys.readouterr().out)["drills"]
    assert drilled["asked"] == {"key": "pci", "value": "noaer"}
    assert drilled["steps"][0]["evidence"][0]["seen"] == "pci=noaer"


def test_a_drill_of_all_keeps_what_it_has_when_a_host_breaks(
    dom0: FakeDom0, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second restart never ends: of what comes after it, nothing is waited for."""
    names = ["nic-quirk", "dom0-vcpus", "debug-mode"]
    monkeypatch.setattr("builder.procedures.PROCEDURES", {name: PROCEDURES[name] for name in names})

    def refuse(*_: object) -> str:
        raise LabError("dom0: connection refused")

    def restart() -> None:
        dom0.start()
        if dom0.changes.count("reboot") == 4:
            dom0.answers = dict.fromkeys((*dom0.answers, "true", "test", "cat", "install", "stat", "rm"), refuse)

    dom0.on_reboot = restart
    assert guarded(["procedure", "drill", "here", "--all", "--out", str(tmp_path / "record.json")]) == 1
    shown = capsys.readouterr()
    assert "dom0: given up: dom0: connection refused" in shown.err
    record = json.loads((tmp_path / "record.json").read_text())
    assert [(each["procedure"], each["undone"]) for each in record["drills"]] == [
        ("nic-quirk", "yes"), ("dom0-vcpus", "no")]  # fmt: skip
    assert [row.split()[0] for row in shown.out.splitlines()[1:3]] == names[:2]


def test_what_cannot_be_prepared_is_a_row_that_failed(dom0: FakeDom0, capsys: pytest.CaptureFixture[str]) -> None:
    """There is no guest for it: the host's xl cannot make one."""
    dom0.answers["xl create"] = 1
    assert guarded(["procedure", "drill", "here", "guest-memory"]) == 1
    shown = capsys.readouterr().out
    assert shown.splitlines()[1].split()[4:5] == ["no"] and "dom0: guest-memory, prepare:" in shown


def test_guests_for_drills_are_made_by_xl(dom0: FakeDom0, capsys: pytest.CaptureFixture[str]) -> None:
    dom0.dialect = "xe"
    assert guarded(["procedure", "drill", "here", "guest-memory"]) == 1
    assert "guests for drills are made by xl only" in capsys.readouterr().err


def test_a_drill_that_fails_says_where_and_ends_with_1(dom0: FakeDom0, capsys: pytest.CaptureFixture[str]) -> None:
    dom0.answers["nproc"] = "7\n"
    assert guarded(["procedure", "drill", "here", "dom0-vcpus"]) == 1
    shown = capsys.readouterr().out
    assert shown.splitlines()[1].split()[4:8] == ["no", "not", "tried", "not"]
    assert "dom0: dom0-vcpus, run:" in shown
    assert "CPUs that dom0's kernel uses: expected 1, seen 7" in shown
    assert "dom0_max_vcpus=2" in dom0.xen


def test_a_drill_that_no_lab_can_do_says_why(dom0: FakeDom0, capsys: pytest.CaptureFixture[str]) -> None:
    assert guarded(["procedure", "drill", "here", "pci-hide"]) == 1
    assert "it needs a second network card" in capsys.readouterr().err


def test_a_drill_is_left_out_where_its_packages_are_missing(dom0: FakeDom0, capsys: pytest.CaptureFixture[str]) -> None:
    """What dpkg says of a package that was there once is no reason to begin."""
    dom0.answers["dpkg-query"] = "rc  logrotate\n"
    assert guarded(["procedure", "drill", "here", "log-rotation"]) == 1
    assert "packages: [logrotate, rsyslog]" in capsys.readouterr().err
    assert dom0.changes == []


def test_on_a_host_that_is_only_looked_at_a_drill_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, dom0: FakeDom0, capsys: pytest.CaptureFixture[str]
) -> None:
    dom0.dialect = "xe"
    fine = (same("logs", "rotated", "rotated"),)
    monkeypatch.setattr("builder.procedures.log_rotation._Xe.check", lambda *_: fine)
    dom0.answers["sh -c 'command -v logrotate'"] = "/usr/sbin/logrotate\n"
    dom0.answers["xapi-wait-init-complete"] = ""
    assert guarded(["procedure", "drill", "here", "log-rotation"]) == 0
    (row,) = capsys.readouterr().out.splitlines()[1:]
    assert row.split()[4:8] == ["yes", "yes", "yes", "yes"]
    assert dom0.changes == ["reboot", "xapi-wait-init-complete 300"]
