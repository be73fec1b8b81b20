"""Boots followed by phase: what ends a phase, what names a failure, what a time-out says."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from builder.drivers.ends import ENDS
from builder.errors import Interrupted, LabError, NodeFailed, TimedOut
from builder.model.plan import Phase
from tests.support.boots import PHASES, Bench


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_boot_that_goes_well(bench: Bench) -> None:
    bench.say("SeaBIOS (1.16)\n(XEN) Xen version 4.17\n[0.0] Linux version 6.1\nn1 login: ")

    def answer() -> None:
        while not any(event[:2] == ("begin", "ssh") for event in bench.events):
            time.sleep(0.01)
        time.sleep(0.2)
        bench.signals.put("ssh")

    threading.Thread(target=answer, daemon=True).start()
    seconds = bench.follow(expected={"xen": 12.2})
    assert list(seconds) == ["firmware", "xen", "kernel", "login", "ssh"]
    assert 0.1 < seconds["ssh"] < 2
    assert bench.story() == [word for phase in seconds for word in (f"begin {phase}", f"end {phase} ok")]
    begins = {phase: data for kind, phase, _, data in bench.events if kind == "begin"}
    assert begins["xen"] == {"node": "n1", "limit": 5.0, "expected": 12.2, "left": 12}  # nothing took any time so far
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
    threading.Timer(0.3, bench.say, ["first\n"]).start()
    with pytest.raises(TimedOut):
        bench.follow((one, two), scale=0.1, least=0.7)
    assert {data["limit"] for kind, _, _, data in bench.events if kind == "begin"} == {0.7}  # room enough already
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


@pytest.mark.parametrize("name", ["medium-gone", "no-space", "l0-lost"])
def test_what_the_machine_lost_ends_the_boot_at_once(bench: Bench, name: str) -> None:
    bench.signals.put(name)
    with pytest.raises(NodeFailed) as caught:
        bench.follow()
    assert (caught.value.cause, caught.value.hint) == (name, ENDS[name].cure)


@pytest.mark.parametrize("ends", [("power-off", "reboot"), ("reboot", "power-off")])
def test_an_installation_that_ends_in_the_other_way_has_ended(bench: Bench, ends: tuple[Any, str]) -> None:
    planned, came = ends
    bench.say("SeaBIOS\n")
    bench.signals.put(came)
    assert list(bench.follow((PHASES[0], Phase(name="end", signal=planned, weight=5)))) == ["firmware", "end"]
