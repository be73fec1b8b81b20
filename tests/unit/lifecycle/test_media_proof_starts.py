"""How often a proof starts a machine. The machine is a fake: an emulated one panics once in fifty starts, not when it
is wanted."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from builder.errors import LabError, NodeFailed, TimedOut
from builder.lifecycle import accelerator, media_proof
from builder.lifecycle.media_proof_model import ProofRequest, Report, Way
from builder.model.runtime import Accelerator
from builder.paths import Places
from tests.unit.media.made import iso

PANIC = NodeFailed("bios-cd", "the kernel panicked", cause="kernel-panic")
LOST = NodeFailed("bios-cd", "isolinux cannot start", cause="loader-broken")
LATE = TimedOut("a kernel", seconds=1.0, node="bios-cd", last_lines=["boot:"])


class Bench:
    """Proves a medium in machines that end as they are told, in order; None is a good end."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.places = Places(folder / "state", folder / "cache", folder / "run")
        self.medium = iso(folder / "medium.iso")
        self.ends: list[LabError | None] = []
        self.told: list[tuple[str, Any]] = []
        self.started = 0
        patch.setattr(media_proof, "Machine", self._machine)
        patch.setattr(media_proof, "follow", self._follow)
        self._patch = patch

    def _machine(self, setup: Any) -> Any:
        bench = self

        class Machine:
            def start(self) -> None:
                bench.started += 1
                setup.console.write_text(f"console of start {bench.started}\n")

            def screenshot(self, to: Path) -> bool:
                to.write_bytes(b"\x89PNG")
                return True

            def end(self) -> None:
                """Nothing runs."""

        return Machine()

    def _follow(self, *_args: Any, **_more: Any) -> None:
        end = self.ends.pop(0)
        if end is not None:
            raise end

    def prove(self, *ends: LabError | None, on: Accelerator = "tcg") -> Report:
        self.ends = list(ends)
        verdict = accelerator.AcceleratorVerdict(accelerator=on, proven=on == "kvm", reason="")
        self._patch.setattr(accelerator, "verdict", lambda *_args, **_more: verdict)
        request = ProofRequest(
            iso=self.medium, ways=(Way(firmware="bios", attached="cd"),), memory=64 << 20,
            kept=self.medium.with_name("kept"),
        )  # fmt: skip
        return media_proof.prove(request, self.places, self._emit, threading.Event())

    def _emit(self, kind: str, **data: Any) -> None:
        self.told.append((kind, data.get("cause")))


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(tmp_path, monkeypatch)


def test_an_emulated_panic_is_told_and_started_once_more(bench: Bench) -> None:
    report = bench.prove(PANIC, None)
    (boot,) = report.boots
    assert (report.outcome, boot.outcome, boot.starts, boot.cause) == ("proven", "ok", 2, "")
    assert ("fault", "kernel-panic") in bench.told
    assert Path(boot.console).read_text() == "console of start 2\n"


def test_a_panic_that_comes_again_is_the_mediums_own(bench: Bench) -> None:
    report = bench.prove(PANIC, PANIC)
    (boot,) = report.boots
    assert (report.outcome, boot.outcome, boot.starts, boot.cause) == ("failed", "failed", 2, "kernel-panic")


@pytest.mark.parametrize(
    ("end", "on", "outcome"), [(PANIC, "kvm", "failed"), (LOST, "tcg", "failed"), (LATE, "tcg", "timeout")]
)
def test_other_ends_and_kvm_get_one_start(end: LabError, on: Accelerator, outcome: str, bench: Bench) -> None:
    (boot,) = bench.prove(end, on=on).boots
    assert (boot.outcome, boot.starts, bench.started) == (outcome, 1, 1)
    assert Path(boot.console).read_text() == "console of start 1\n"
