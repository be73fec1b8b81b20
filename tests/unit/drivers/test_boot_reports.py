"""Boots whose end is not plain: clues, failures that do not say why, and what an installation reports."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from builder.drivers.hooks import Report
from builder.errors import NodeFailed, TimedOut
from builder.model.plan import Cause, Phase
from tests.support.boots import NO_ROOT, PANIC, Bench


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


CLUE = Cause(pattern="HAP not detected", name="no-paging", message="no nested paging", cure="another CPU", sure=False)
DOUBTFUL = (
    Phase(name="xen", awaits="Linux version", weight=1, causes=(CLUE, PANIC)),
    Phase(name="login", awaits="login: $", weight=1),
)


@pytest.mark.parametrize("signal", ["power-off", "reboot", None])
def test_a_clue_ends_nothing_and_explains_what_does(bench: Bench, signal: str | None) -> None:
    bench.say("HAP not detected\n")
    if signal is None:
        with pytest.raises(TimedOut, match="no nested paging") as late:
            bench.follow(DOUBTFUL, scale=0.3)
        assert late.value.cause == bench.events[-1][3]["cause"] == "no-paging"
        return
    bench.signals.put(signal)
    with pytest.raises(NodeFailed, match="no nested paging") as caught:
        bench.follow(DOUBTFUL)
    assert caught.value.cause == "no-paging"


def test_a_clue_counts_no_longer_than_its_phases(bench: Bench) -> None:
    bench.say("HAP not detected\nLinux version 6\n")
    with pytest.raises(TimedOut) as caught:
        bench.follow(DOUBTFUL, scale=0.3)
    assert caught.value.cause == "timeout"
    assert "paging" not in str(caught.value)


def test_what_is_sure_goes_before_a_clue(bench: Bench) -> None:
    bench.say("HAP not detected\nPanic on CPU 0\n")
    with pytest.raises(NodeFailed) as caught:
        bench.follow(DOUBTFUL)
    assert caught.value.cause == "xen-panic"


def test_a_phase_can_say_what_its_time_out_means(bench: Bench) -> None:
    late = Cause(pattern="", name="answers-missing", message="it found no answers", cure="look at the volume")
    with pytest.raises(TimedOut, match="it found no answers") as caught:
        bench.follow((Phase(name="answers", awaits="never", weight=1, late=late),), scale=0.2)
    assert caught.value.cause == "answers-missing"


REPORTED = (
    Phase(name="answers", awaits="nestlab: it has read its answers", weight=5),
    Phase(name="disks", awaits="nestlab: the disks are ready", weight=5, causes=(PANIC, NO_ROOT)),
    Phase(name="end", signal="power-off", weight=5),
)


def test_a_report_is_as_good_as_the_line_on_the_console(bench: Bench) -> None:
    bench.signals.put(Report("end", "answers", "it has read its answers"))
    bench.say("nestlab: it has read its answers\nnestlab: the disks are ready\n")
    bench.signals.put(Report("end", "disks", "the disks are ready"))
    threading.Timer(0.3, bench.signals.put, ["power-off"]).start()
    assert list(bench.follow(REPORTED)) == ["answers", "disks", "end"]
    lines = [(data["text"], data["mark"], data["part"]) for kind, _, _, data in bench.events if kind == "line"]
    assert lines == [("it has read its answers", "end", "answers"), ("the disks are ready", "end", "disks")]


def test_reports_alone_lead_to_the_end(bench: Bench) -> None:
    for message in ("it has read its answers", "the disks are ready"):
        bench.signals.put(Report("end", "x", message))
    bench.signals.put("power-off")
    assert list(bench.follow(REPORTED)) == ["answers", "disks", "end"]


def test_a_report_that_comes_late_changes_nothing(bench: Bench) -> None:
    bench.signals.put(Report("end", "disks", "the disks are ready"))
    bench.signals.put(Report("end", "answers", "it has read its answers"))
    bench.signals.put("power-off")
    bench.signals.put(Report("fail", "disks", "Unable to mount root", "Panic on CPU 7"))
    assert list(bench.follow(REPORTED)) == ["answers", "disks", "end"]


def test_a_failure_is_named_by_the_newest_line_of_its_log(bench: Bench) -> None:
    bench.say("nestlab: it has read its answers\n")
    log = "Panic on CPU 0\nsome more\nUnable to mount root fs\nthe end\n"
    bench.signals.put(Report("fail", "disks", "the installation failed", log))
    with pytest.raises(NodeFailed) as caught:
        bench.follow(REPORTED)
    assert caught.value.cause == "no-root"
    assert "nestlab: the installation failed" in str(caught.value)


def test_what_only_reports_tell_does_not_end_by_the_console(bench: Bench) -> None:
    phases = (Phase(name="told", signal="http", awaits="nestlab: done", weight=1), Phase(name="last", awaits="end$"))
    bench.say("nestlab: done\n")
    with pytest.raises(TimedOut, match="http"):
        bench.follow(phases, scale=0.3)
    bench.signals.put(Report("end", "x", "done"))
    threading.Timer(0.3, bench.say, ["the end\n"]).start()
    assert list(bench.follow(phases)) == ["told", "last"]


def test_an_installation_that_reports_may_still_send_its_log(bench: Bench) -> None:
    """The console says less, and says it first."""
    bench.signals.put(Report("end", "answers", "it has read its answers"))
    threading.Timer(0.3, bench.say, ["Panic on CPU 0\nnestlab: the disks are ready\n"]).start()
    threading.Timer(0.8, bench.signals.put, [Report("fail", "disks", "it failed", "Unable to mount root")]).start()
    began = time.monotonic()
    with pytest.raises(NodeFailed) as caught:
        bench.follow(REPORTED)
    assert caught.value.cause == "no-root"
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("log", ["nothing that is known", None])
def test_what_the_console_said_counts_when_no_log_knows_better(bench: Bench, log: str | None) -> None:
    bench.signals.put(Report("end", "answers", "it has read its answers"))
    threading.Timer(0.3, bench.say, ["Panic on CPU 0\n"]).start()
    if log is not None:
        threading.Timer(0.6, bench.signals.put, [Report("fail", "disks", "it failed", log)]).start()
    else:
        threading.Timer(0.6, bench.signals.put, ["power-off"]).start()
    began = time.monotonic()
    with pytest.raises(NodeFailed) as caught:
        bench.follow(REPORTED)
    assert caught.value.cause == "xen-panic"
    assert time.monotonic() - began < 2


def test_nobody_waits_long_for_a_log(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builder.drivers.boot._GRACE", 0.5)
    bench.signals.put(Report("end", "answers", "it has read its answers"))
    threading.Timer(0.2, bench.say, ["Panic on CPU 0\nnestlab: the disks are ready\n"]).start()
    with pytest.raises(NodeFailed) as caught:
        bench.follow(REPORTED)
    assert (caught.value.cause, caught.value.phase) == ("xen-panic", "disks")


VAGUE = Cause(pattern="it failed", name="failed", message="it failed", cure="look", vague=True)
FAILING = (Phase(name="one", awaits="never", weight=1, causes=(VAGUE, CLUE, NO_ROOT)),)


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        ("it failed\nbecause: Unable to mount root\nit failed\n", "no-root"),
        ("HAP not detected\nit failed\n", "no-paging"),
        ("it failed\nHAP not detected\n", "no-paging"),
        ("HAP not detected\nit failed\nUnable to mount root\n", "no-root"),
        ("it failed\n", "failed"),
    ],
)
def test_what_says_only_that_it_failed_waits_for_what_says_why(bench: Bench, said: str, cause: str) -> None:
    for number, line in enumerate(said.splitlines(keepends=True)):
        threading.Timer(0.1 + 0.2 * number, bench.say, [line]).start()
    with pytest.raises(NodeFailed, match=r"it failed|root file system") as caught:
        bench.follow(FAILING, scale=0.6)  # its time is over while it is waited for
    assert caught.value.cause == cause


@pytest.mark.parametrize(
    ("log", "cause"),
    [("HAP not detected", "no-paging"), ("Unable to mount root\nHAP not detected", "no-root"), ("nothing", "failed")],
)
def test_a_log_explains_a_failure_that_does_not_say_why(bench: Bench, log: str, cause: str) -> None:
    bench.signals.put(Report("fail", "one", "it failed", log))
    with pytest.raises(NodeFailed) as caught:
        bench.follow(FAILING)
    assert caught.value.cause == cause


def test_a_failure_that_nobody_knows_does_not_end_the_boot(bench: Bench) -> None:
    bench.signals.put(Report("fail", "one", "a download", "HAP not detected\n"))
    with pytest.raises(TimedOut) as caught:
        bench.follow(FAILING, scale=0.4)
    assert caught.value.cause == "no-paging"


def test_what_is_left_is_told_by_the_pace_so_far_and_by_past_runs(bench: Bench) -> None:
    phases = (
        Phase(name="one", awaits="first", weight=10),
        Phase(name="two", awaits="second", weight=100),
        Phase(name="three", awaits="third", weight=200),
    )
    threading.Timer(0.5, bench.say, ["first\n"]).start()
    with pytest.raises(TimedOut):
        bench.follow(phases, scale=0.02, least=1.4, expected={"three": 7})
    left = [(kind, phase, data["left"]) for kind, phase, _, data in bench.events if "left" in data]
    assert left[0] == ("begin", "one", 117)  # weights are seconds until something is known
    kind, phase, seconds = left[1]
    assert (kind, phase) == ("begin", "two")
    assert 12 <= seconds <= 16  # a hundred at a twentieth of the time, and seven as ever
    assert [each[2] for each in left[2:]] == sorted((each[2] for each in left[2:]), reverse=True)


@pytest.mark.parametrize("signal", ["power-off", "ssh"])
def test_what_failed_is_no_success_because_the_machine_then_goes_as_it_should(bench: Bench, signal: str) -> None:
    end = Phase(name="end", signal="power-off" if signal == "power-off" else "ssh", weight=1, causes=(VAGUE,))
    bench.say("it failed\n")
    threading.Timer(0.3, bench.signals.put, [signal]).start()
    with pytest.raises(NodeFailed) as caught:
        bench.follow((end,), scale=5)
    assert caught.value.cause == "failed"
