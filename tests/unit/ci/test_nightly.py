"""Nightly parts: resumed where they stopped, stopped before time runs out, proven only when every unit was fine."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from builder.model.load import read_lab
from builder.paths import Busy, locked
from builder.systems import load_system, traits
from ci.nightly import debian_installer
from ci.nightly import part as parts
from ci.nightly.__main__ import PARTS, main
from ci.nightly.boots import CASES, lab_text
from ci.nightly.kill9 import BATCH
from ci.nightly.kill9 import judge as judge_kill9
from ci.nightly.lab import command
from ci.nightly.part import Desk, Figures, Part, Unit, Verdict, run_part
from ci.nightly.programs import FAULTS
from tests.support.repo import ROOT


@dataclass
class Work:
    """A part of three units that counts what it did. A proof is kept in memory: the real one is made elsewhere."""

    base: Path
    fail: str = ""
    ran: list[str] = field(default_factory=list)
    proofs: list[Verdict] = field(default_factory=list)
    seconds: float = 0
    inputs: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def part(self) -> Part:
        def units() -> Sequence[Unit]:
            return [Unit(name, partial(self.do, name), self.seconds, self.inputs.get(name, ())) for name in "abc"]

        return Part("work", "for this test", units, self.judge)

    def do(self, name: str, desk: Desk) -> Figures:
        if name == self.fail:
            raise KeyboardInterrupt
        assert {n for n in "abc" if n < name} <= set(desk.done)
        self.ran.append(name)
        return {"ok": name != "c" or self.fail != "figures", "name": name}

    def judge(self, done: Mapping[str, Figures]) -> Verdict:
        verdict = Verdict(all(f["ok"] for f in done.values()), dict(done))
        self.proofs.append(verdict)
        return verdict

    def go(self, *, minutes: float = 1, fresh: bool = False) -> int:
        return run_part(self.part(), minutes=minutes, fresh=fresh, base=self.base)


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Work:
    monkeypatch.setattr(parts, "write_proof", lambda name, **_: tmp_path / f"{name}.json")
    monkeypatch.setattr(parts, "product_digest", lambda: "same")
    return Work(tmp_path)


def test_all_units_run_once_and_are_judged(work: Work) -> None:
    assert work.go() == 0
    assert work.ran == ["a", "b", "c"]
    assert list(work.proofs[0].figures) == ["a", "b", "c"]


def test_what_was_done_before_an_interrupt_is_not_done_again(work: Work) -> None:
    work.fail = "b"
    with pytest.raises(KeyboardInterrupt):
        work.go()
    work.fail = ""
    assert work.go() == 0
    assert work.ran == ["a", "b", "c"]


def test_a_finished_part_starts_anew(work: Work) -> None:
    assert work.go() == work.go() == 0
    assert work.ran == ["a", "b", "c"] * 2


def test_other_sources_make_earlier_work_void(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    work.fail = "c"
    with pytest.raises(KeyboardInterrupt):
        work.go()
    work.fail = ""
    monkeypatch.setattr(parts, "product_digest", lambda: "changed")
    assert work.go() == 0
    assert work.ran == ["a", "b", "a", "b", "c"]


def test_what_depends_on_a_part_of_the_sources_holds_as_long_as_they_stay(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = {"x.py": "1", "y.py": "1"}
    monkeypatch.setattr(parts, "inputs_digest", lambda *names: "".join(sources[name] for name in names))
    work.inputs = {"a": ("x.py",), "b": ("x.py", "y.py")}
    assert work.go() == 0
    monkeypatch.setattr(parts, "product_digest", lambda: "changed")
    sources["y.py"] = "2"
    assert work.go() == 0
    assert work.ran == ["a", "b", "c", "b", "c"]
    assert set(work.proofs[-1].figures) == set("abc")
    assert work.go() == 0  # c is of the whole product, and a part that was proven starts anew
    assert work.ran[5:] == ["c"]
    assert work.go(fresh=True) == 0
    assert work.ran[6:] == ["a", "b", "c"]


def test_fresh_forgets_earlier_work(work: Work) -> None:
    work.fail = "c"
    with pytest.raises(KeyboardInterrupt):
        work.go()
    work.fail = ""
    assert work.go(fresh=True) == 0
    assert work.ran == ["a", "b", "a", "b", "c"]


def test_a_unit_that_would_not_end_in_time_is_not_begun(work: Work) -> None:
    work.seconds = 3600
    assert work.go(minutes=1) == parts.UNFINISHED
    assert work.ran == []
    assert work.proofs == []


def test_a_failed_unit_fails_the_part(work: Work) -> None:
    work.fail = "figures"
    assert work.go() == parts.FAILED
    assert not work.proofs[0].ok


def test_only_what_failed_is_done_again_and_says_so(work: Work) -> None:
    work.fail = "figures"
    assert work.go() == work.go() == parts.FAILED
    work.fail = ""
    assert work.go() == 0
    assert work.ran == ["a", "b", "c", "c", "c"]
    assert [figures.get("attempt") for figures in work.proofs[-1].figures.values()] == [None, None, 3]


def test_a_line_torn_by_a_crash_is_done_again(work: Work) -> None:
    work.fail = "c"
    with pytest.raises(KeyboardInterrupt):
        work.go()
    progress = work.base / "work/progress.jsonl"
    progress.write_text(progress.read_text()[:-9])
    work.fail = ""
    assert work.go() == 0
    assert work.ran == ["a", "b", "b", "c"]


def test_two_runs_of_a_part_do_not_meet(work: Work) -> None:
    with locked(work.base / "work/.lock"), pytest.raises(Busy):
        work.go()


def test_every_part_is_named_and_within_the_time_limit(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    listed = capsys.readouterr().out
    expected = {
        "boots", "kill9", "reproducibility", "clean-root-12", "clean-root-13", "bench-boot", "bench-image",
        "media-boots", "media-kill", "media-fuzz", "bench-media", "bench-render", "kickstart-storage", "injection",
        "judges", "install-lvm", "install-raid10", "xcpng-install", "procedures", "several-hosts", "installer-reports",
        "procedures-labs",
        "installer-faults", "exports", "variants", "xl-in-dom0", "xcpng-own",
    }  # fmt: skip
    assert set(PARTS) == expected
    assert all(name in listed for name in expected)
    for part in PARTS.values():
        assert max(unit.seconds for unit in part.units()) < 45 * 60
        assert len({unit.name for unit in part.units()}) == len(part.units())


def test_units_that_are_tests_name_those_that_there_are() -> None:
    path = ROOT / "tests/nightly/test_installer_faults.py"
    tests = [node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)]
    assert list(FAULTS) == [name for name in tests if name.startswith("test_")]


@pytest.mark.parametrize("name", ["install-lvm", "install-raid10"])
def test_a_real_installation_has_the_time_that_it_was_seen_to_take(name: str, tmp_path: Path) -> None:
    """By the weights of its phases, seconds that the emulator was busy in a measured one, three times over."""
    lab = tmp_path / "lab.yaml"
    lab.write_text(debian_installer.lab_text(name, tmp_path / "medium.iso"))
    node = read_lab(lab, traits()).nodes[0]
    install, disk = load_system("debian").plan(node).boots
    assert 3 * sum(phase.weight for phase in install.phases) < debian_installer.INSTALL_SECONDS
    assert 3 * sum(phase.weight for phase in disk.phases) < debian_installer.START_SECONDS


def test_what_a_command_kept_of_a_failure_outlives_its_state(tmp_path: Path) -> None:
    for round_ in ("first", "second"):
        with command(tmp_path / "output.log") as nestlab:
            folder = nestlab.base / "state/failures/lab"
            folder.mkdir(parents=True)
            (folder / "console.log").write_text(round_)
    assert not nestlab.base.exists()
    assert (tmp_path / "failures/lab/console.log").read_text() == "second"


def test_evidence_of_a_lab_is_kept_where_what_failed_was_only_seen_on_it(tmp_path: Path) -> None:
    with command(tmp_path / "output.log") as nestlab:
        folder = nestlab.base / "state/failures/lab"
        folder.mkdir(parents=True)
        (folder / "events.jsonl").write_text("")
        nestlab.keep("lab")
    (kept,) = (path for path in (tmp_path / "failures").iterdir() if path.name != "lab")
    assert (kept / "events.jsonl").exists(), (tmp_path / "output.log").read_text()


def test_images_of_its_own_are_gone_with_a_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was learned of this machine is taken over."""
    monkeypatch.setenv("NESTLAB_CACHE", str(tmp_path / "user"))
    (tmp_path / "user").mkdir()
    (tmp_path / "user/accelerator.json").write_text("{}")
    with command(tmp_path / "output.log", own_images=True, NESTLAB_X="y") as nestlab:
        cache = Path(nestlab.environment["NESTLAB_CACHE"])
        assert [path.name for path in cache.iterdir()] == ["accelerator.json"]
        assert nestlab.environment["NESTLAB_X"] == "y"
    assert not cache.exists() and (tmp_path / "user/accelerator.json").exists()
    with command(tmp_path / "output.log") as nestlab:
        assert "NESTLAB_CACHE" not in nestlab.environment


def test_an_installation_that_failed_is_not_checked(tmp_path: Path) -> None:
    desk = Desk("install-lvm", tmp_path, tmp_path / "output.log", {"install": {"ok": False}})
    figures = debian_installer.checked("install-lvm", desk)
    assert (figures["ok"], figures["reached"]) == (False, "rendered")
    done = {"medium": {"ok": True}, "install": {"ok": False}, "checks": figures, "by-hand": {"ok": True}}
    verdict = debian_installer.judge(done)
    assert (verdict.ok, verdict.claims) == (False, ())


def test_an_unknown_part_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["boots", "nonsense"])
    assert ended.value.code == 2
    assert "unknown part: nonsense" in capsys.readouterr().err


def test_kill9_is_proven_only_by_all_rounds_without_leftovers() -> None:
    one = {"ok": True, "rounds": BATCH, "leftovers": [], "victims": {"up": 6, "keeper": 4}, "up_seconds": 3.0}
    good: dict[str, Figures] = {unit.name: one for unit in PARTS["kill9"].units()}
    verdict = judge_kill9(good)
    assert verdict.ok
    assert (verdict.figures["rounds"], verdict.figures["killed"]) == (200, {"up": 120, "keeper": 80})
    assert not judge_kill9(dict(list(good.items())[1:])).ok
    dirty = judge_kill9({**good, "seed-3": {"ok": False, "rounds": BATCH, "leftovers": ["process 1"]}})
    assert not dirty.ok
    assert dirty.figures["what_was_left"] == ["seed-3: process 1"]


@pytest.mark.parametrize("text", [lab_text(*case) for case in CASES])
def test_the_labs_of_the_parts_are_valid(tmp_path: Path, text: str) -> None:
    path = tmp_path / "lab.yaml"
    path.write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "builder", "validate", "--no-limits", str(path)],
        cwd=ROOT, check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
