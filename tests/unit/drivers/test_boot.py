"""Boots followed by phase: what ends a phase, what names a failure, what a time-out says."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from builder.drivers.boot import BootFollower, Signal
from builder.drivers.ends import ENDS
from builder.drivers.hooks import Report
from builder.errors import Interrupted, LabError, NodeFailed, TimedOut
from builder.model.plan import Cause, Phase

PANIC = Cause(pattern=r"Panic on CPU \d+", name="xen-panic", message="Xen panicked", cure="another CPU model")
NO_ROOT = Cause(pattern=r"Unable to mount root", name="no-root", message="the root file system is missing", cure="")
PHASES = (
    Phase(name="firmware", awaits="SeaBIOS", weight=5),
    Phase(name="xen", awaits="Xen version", weight=5, causes=(PANIC,)),
    Phase(name="kernel", awaits="Linux version", weight=5, causes=(NO_ROOT,)),
    Phase(name="login", awaits="login: $", weight=5),
    Phase(name="ssh", signal="ssh", weight=5),
)


class Bench:
    """A log that is written, signals that are sent, and the events that come of it."""

    def __init__(self, tmp_path: Path) -> None:
        self.log = tmp_path / "console.log"
        self.signals: queue.Queue[Signal] = queue.Queue()
        self.events: list[tuple[str, str | None, str | None, Mapping[str, Any]]] = []

    def say(self, text: str) -> None:
        with self.log.open("a") as file:
            file.write(text)

    def emit(self, kind: str, *, phase: str | None = None, outcome: str | None = None, **data: Any) -> None:
        self.events.append((kind, phase, outcome, data))

    def follow(self, phases: tuple[Phase, ...] = PHASES, **options: Any) -> dict[str, float]:
        stop = options.pop("stop", None)
        return BootFollower(self.log, phases, "n1", self.emit, self.signals, **options).follow(stop)

    def story(self) -> list[str]:
        return [f"{kind} {phase}" + (f" {outcome}" if outcome else "") for kind, phase, outcome, _ in self.events]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_boot_that_goes_well(bench: Bench) -> None:
    bench.say("SeaBIOS (1.16)\n(XEN) Xen version 4.17\n[0.0] Linux version 6.1\nn1 login: ")
    threading.Timer(0.2, bench.signals.put, ["ssh"]).start()
    seconds = bench.follow(expected={"xen": 12.5})
    assert list(seconds) == ["firmware", "xen", "kernel", "login", "ssh"]
    assert 0.1 < seconds["ssh"] < 2
    assert bench.story() == [word for phase in seconds for word in (f"begin {phase}", f"end {phase} ok")]
    begins = {phase: data for kind, phase, _, data in bench.events if kind == "begin"}
    assert begins["xen"] == {"node": "n1", "limit": 5.0, "expected": 12.5}
    assert "expected" not in begins["kernel"]


def test_a_phase_that_said_nothing_is_passed_over(bench: Bench) -> None:
    bench.say("(XEN) Xen version 4.17\n")
    bench.say("n1 login: ")
    bench.signals.put("ssh")
    assert list(bench.follow()) == ["firmware", "xen", "kernel", "login", "ssh"]


def test_ssh_ends_the_console_phases_before_it(bench: Bench) -> None:
    bench.signals.put("ssh")
    assert list(bench.follow()) == [phase.name for phase in PHASES]


@pytest.mark.parametrize(
    ("said", "cause", "phase"),
    [
        ("SeaBIOS\n(XEN) Panic on CPU 1: GENERAL PROTECTION FAULT\n", "xen-panic", "xen"),
        ("SeaBIOS\nXen version\nUnable to mount root fs\n", "no-root", "kernel"),
        ("(XEN) Panic on CPU 0:\n", "xen-panic", "firmware"),
        ("SeaBIOS\nXen version\n(XEN) Panic on CPU 1 without end", None, "kernel"),
    ],
)
def test_a_cause_is_named(bench: Bench, said: str, cause: str | None, phase: str) -> None:
    bench.say(said)
    if cause is None:  # a cause of a phase that is over is not looked for any more
        with pytest.raises(TimedOut):
            bench.follow(scale=0.05)
        return
    with pytest.raises(NodeFailed) as caught:
        bench.follow()
    assert (caught.value.cause, caught.value.phase) == (cause, phase)
    assert said.splitlines()[-1] in str(caught.value)
    assert bench.events[-1][:3] == ("end", phase, "failed")
    assert bench.events[-1][3]["cause"] == cause


def test_a_time_out_says_what_was_awaited_and_the_last_lines(bench: Bench) -> None:
    bench.say("".join(f"line {n}\n" for n in range(40)) + "SeaBIOS\nstuck he")
    with pytest.raises(TimedOut) as caught:
        bench.follow(scale=0.06)
    error = caught.value
    assert error.exit_code == 4
    assert "n1: waited 0 s for /Xen version/ on the console (phase xen)" in str(error)
    assert error.last_lines[-2:] == ("SeaBIOS", "stuck he")
    assert len(error.last_lines) == 15
    assert bench.events[-1][:3] == ("end", "xen", "failed")


def test_time_outs_scale_with_the_weight(bench: Bench) -> None:
    began = time.monotonic()
    with pytest.raises(TimedOut):
        bench.follow((Phase(name="one", awaits="never", weight=10),), scale=0.05)
    assert 0.5 <= time.monotonic() - began < 1.2


def test_no_time_out_is_shorter_than_the_least(bench: Bench) -> None:
    began = time.monotonic()
    with pytest.raises(TimedOut):
        bench.follow((Phase(name="one", awaits="never", weight=10),), scale=0.001, least=0.6)
    assert 0.6 <= time.monotonic() - began < 1.5
    assert bench.events[0][3]["limit"] == 0.6


def test_a_boot_that_has_been_slow_gets_more_time_and_one_that_was_not_gets_none(bench: Bench) -> None:
    one, two = Phase(name="one", awaits="first", weight=0.1), Phase(name="two", awaits="second", weight=0.1)
    threading.Timer(0.3, bench.say, ["first\n"]).start()
    with pytest.raises(TimedOut):
        bench.follow((one, two), scale=4)
    limits = {phase: data["limit"] for kind, phase, _, data in bench.events if kind == "begin"}
    assert limits["one"] == 0.4
    assert 1.2 <= limits["two"] <= 4  # three times as long as expected, ten times at most
    bench.events.clear()
    with pytest.raises(TimedOut):
        bench.follow((one.model_copy(update={"weight": 60}), two), scale=1, least=0.2)
    assert bench.events[-1][1:3] == ("two", "failed")
    assert {data["limit"] for kind, phase, _, data in bench.events if (kind, phase) == ("begin", "two")} == {0.2}


@pytest.mark.parametrize("signal", ["power-off", "reboot"])
def test_a_node_that_ends_before_its_time(bench: Bench, signal: str) -> None:
    bench.say("SeaBIOS\n")
    bench.signals.put(signal)
    bench.say("the last words\nreboot: Restarting system\n")
    with pytest.raises(NodeFailed) as caught:
        bench.follow()
    assert caught.value.cause == f"early-{signal}"
    assert "the last words" in str(caught.value)


def test_a_cause_on_the_console_goes_before_the_power_off_it_led_to(bench: Bench) -> None:
    bench.say("SeaBIOS\n(XEN) Panic on CPU 1\n")
    bench.signals.put("power-off")
    with pytest.raises(NodeFailed) as caught:
        bench.follow()
    assert caught.value.cause == "xen-panic"


INSTALL = (
    Phase(name="installer", awaits="Installing", weight=5),
    Phase(name="copied", awaits="Installation complete", weight=5),
    Phase(name="reboot", signal="reboot", weight=5),
    Phase(name="ready", signal="ssh", weight=5),
)


def test_an_installation_ends_by_its_reboot_and_not_by_an_earlier_one(bench: Bench) -> None:
    bench.say("Installing\nreboot: Restarting system\n")
    bench.signals.put("reboot")
    with pytest.raises(NodeFailed, match="rebooted before its time"):
        bench.follow(INSTALL)


def test_the_installers_own_ssh_is_not_that_of_the_installed_system(bench: Bench) -> None:
    bench.say("Installing\nInstallation complete\n")
    bench.signals.put("ssh")
    bench.signals.put("reboot")
    with pytest.raises(TimedOut, match="ssh \\(phase ready\\)"):
        bench.follow(INSTALL, scale=0.08)


def test_last_words_that_come_with_the_signal_count(bench: Bench) -> None:
    """The signal may be seen before the console log was read to its end."""
    bench.say("Installing\n")
    bench.signals.put("reboot")
    bench.say("Installation complete\n")
    bench.signals.put("ssh")
    with pytest.raises(TimedOut, match="ssh"):
        bench.follow(INSTALL, scale=0.08)


def test_interrupted(bench: Bench) -> None:
    stop = threading.Event()
    threading.Timer(0.2, stop.set).start()
    with pytest.raises(Interrupted, match="during firmware"):
        bench.follow(stop=stop)
    assert bench.events[-1][:3] == ("end", "firmware", "interrupted")


def test_earlier_boots_in_the_same_log_do_not_count(bench: Bench) -> None:
    bench.say("SeaBIOS\nXen version\nLinux version\nlogin: \n")
    with pytest.raises(TimedOut, match="phase firmware"):
        bench.follow(offset=bench.log.stat().st_size, scale=0.05)


def test_progress_tells_the_time(bench: Bench) -> None:
    with pytest.raises(TimedOut):
        bench.follow((Phase(name="one", awaits="x", weight=1),), scale=2.3, expected={"one": 1.0})
    shown = [data for kind, _, _, data in bench.events if kind == "progress"]
    assert [round(data["elapsed"]) for data in shown] == [1, 2]
    assert all(data["expected"] == 1.0 and data["limit"] == 2.3 for data in shown)


def test_a_pattern_that_is_none(bench: Bench) -> None:
    with pytest.raises(LabError, match="pattern /\\(/"):
        bench.follow((Phase(name="one", awaits="("),))


def test_no_phases_is_a_boot_that_is_over(bench: Bench) -> None:
    assert bench.follow(()) == {}


def test_a_reset_without_a_word_is_told_apart_from_a_reboot(bench: Bench) -> None:
    bench.say("SeaBIOS\nXen version\nthe last words\n")
    bench.signals.put("reboot")
    with pytest.raises(NodeFailed, match="without a word") as caught:
        bench.follow()
    assert caught.value.cause == "triple-fault"


def test_a_machine_that_restarts_itself_again_and_again(bench: Bench) -> None:
    bench.say("SeaBIOS\n")
    for _ in range(2):
        bench.signals.put("reset")
    with pytest.raises(TimedOut):  # firmware does that
        bench.follow(scale=0.08)
    for _ in range(3):
        bench.signals.put("reset")
    with pytest.raises(NodeFailed) as caught:
        bench.follow()
    assert caught.value.cause == "reset-loop"


@pytest.mark.parametrize("name", ["medium-gone", "no-space"])
def test_what_the_machine_lost_ends_the_boot_at_once(bench: Bench, name: str) -> None:
    bench.signals.put(name)
    with pytest.raises(NodeFailed) as caught:
        bench.follow()
    assert (caught.value.cause, caught.value.hint) == (name, ENDS[name].cure)


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
