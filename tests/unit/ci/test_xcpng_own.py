"""The part for a medium of one's own: what it runs, and what its record comes to. No such medium can be had here, so
the command is a list of what it was asked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from builder.model.load import read_lab
from builder.procedures import load_procedure
from builder.procedures.options import parse_options, split_options
from builder.systems import traits
from ci.nightly import xcpng_own
from ci.nightly.part import Desk
from ci.nightly.xcpng_own import WITH_OPTIONS, judge, lab_of, tried, units

VARIABLE = "NESTLAB_ISO_XCPNG_8_2"


class Asked:
    """`nestlab`, which ends well but for commands that `fails` names."""

    def __init__(self, fails: str = "") -> None:
        self.fails, self.lines = fails, list[str]()

    def run(self, *words: object, timeout: float) -> int:  # noqa: ARG002
        self.lines.append(" ".join(str(word) for word in words[:2]))
        if "--out" in words:
            record = {"date": "2026-01-02", "drills": [{"procedure": str(words[3])}]}
            Path(str(words[-1])).write_text(json.dumps(record), "utf-8")
        return int(bool(self.fails) and self.lines[-1].startswith(self.fails))

    def ask(self, *_: object) -> dict[str, str]:
        return {"accelerator": "kvm"}


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk("xcpng-own", tmp_path, tmp_path / "log", {})


def with_asked(monkeypatch: pytest.MonkeyPatch, asked: Asked) -> None:
    @contextmanager
    def command(_: Path, *, own_images: bool, **more: str) -> Iterator[Asked]:
        assert not own_images and more == {VARIABLE: "/my.iso"}
        yield asked

    monkeypatch.setenv(VARIABLE, "/my.iso")
    monkeypatch.setattr(xcpng_own, "command", command)


def test_without_a_medium_it_says_how_one_is_named(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.delenv("NESTLAB_ISO_XCPNG_8_3", raising=False)
    with pytest.raises(SystemExit) as caught:
        units()[0].run(desk)
    assert caught.value.code == 2
    assert "NESTLAB_ISO_XCPNG_8_3=/path/to/the.iso" in capsys.readouterr().err
    monkeypatch.setenv(VARIABLE, "/my.iso")
    assert [unit.name for unit in units()] == ["8.2"]


@pytest.mark.parametrize("release", xcpng_own.RELEASES)
def test_its_lab_is_the_shipped_one_of_each_release(
    release: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE.replace("8_2", release.replace(".", "_")), str(tmp_path / "my.iso"))
    lab = read_lab(lab_of(release, tmp_path), traits())
    (node,) = lab.nodes
    assert (node.release, node.system, len(node.disks)) == (release, "xcpng", 2)
    assert lab.name == f"xcpng-own-{release.replace('.', '-')}"
    assert len(node.nics) == 1, "the card that vlan-trunk is tried on"


def test_options_that_are_tried_are_options() -> None:
    for name, words in WITH_OPTIONS.items():
        procedure = load_procedure(name)
        assert "xe" in procedure.ways and procedure.drill.reason
        parse_options(procedure, split_options(words))


def test_a_release_is_verified_once_checks_and_drills_are_through(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Asked()
    with_asked(monkeypatch, asked)
    figures = tried("8.2", desk)
    assert [line.split()[0] for line in asked.lines] == ["up", "test", *["procedure"] * 3, "down"]
    assert [each["drills"] for each in figures["drills"]] == [
        [{"date": "2026-01-02", "procedure": name}] for name in ("--all", *WITH_OPTIONS)]  # fmt: skip
    verdict = judge({"8.2": figures})
    assert verdict.ok
    (claim,) = verdict.claims
    assert (claim.system, claim.release, claim.proof, claim.path, claim.accelerator) == (
        "xcpng", "8.2", "verified", "medium", "kvm")  # fmt: skip


@pytest.mark.parametrize(("fails", "reached", "claims"), [
    ("up", "rendered", []), ("test", "installed", ["installed"]), ("procedure", "verified", ["verified"]),
])  # fmt: skip
def test_it_claims_no_more_than_it_reached(
    fails: str, reached: str, claims: list[Any], desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Asked(fails)
    with_asked(monkeypatch, asked)
    figures = tried("8.2", desk)
    verdict = judge({"8.2": figures})
    assert (figures["reached"], figures["ok"], verdict.ok) == (reached, False, False)
    assert [claim.proof for claim in verdict.claims] == claims
    assert asked.lines[-1].startswith("down")
