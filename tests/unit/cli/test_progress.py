"""Listeners: what a lab's events look like as lines, as bars, and as JSON."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from rich.console import Console
from rich.progress import Progress

from builder.cli.bars import Bars
from builder.cli.frame import App
from builder.cli.progress import Lines, json_lines, listening
from builder.cli.tracks import Board
from builder.events import VERSION, Event, Kind, Outcome
from builder.paths import Places


def at(
    time: float, kind: Kind, *, node: str | None = None, step: str | None = None, phase: str | None = None,
    outcome: Outcome | None = None, cause: str | None = None, **data: Any,
) -> Event:  # fmt: skip
    return Event(v=VERSION, seq=1, t_wall=0, t_mono=time, lab="demo", kind=kind, node=node, step=step, phase=phase,
                 outcome=outcome, cause=cause, data=data)  # fmt: skip


# One `up` of one node: an image is built, then the node boots; as the keeper tells it.
STORY = (
    at(100, "begin", nodes=["a"], jobs=2),
    at(100, "begin", step="image:0bbd2b46e721", expected=20),
    at(100, "begin", step="image:0bbd2b46e721", phase="packages"),
    at(105, "end", step="image:0bbd2b46e721", phase="packages", outcome="ok"),
    at(106, "end", step="image:0bbd2b46e721", outcome="ok", seconds=6),
    at(106, "begin", node="a", step="a/disks", expected=1),
    at(106.1, "end", node="a", step="a/disks", outcome="ok"),
    at(106.1, "progress", accelerator="tcg", reason="KVM does not work"),
    at(106.1, "begin", node="a", step="a/boot", expected=10),
    at(106.1, "begin", node="a", step="a/boot", phase="kernel", limit=24, expected=4),
    at(107.1, "progress", node="a", step="a/boot", phase="kernel", elapsed=1),
    at(107.5, "line", node="a", text="Linux version 6"),
    at(109.1, "end", node="a", step="a/boot", phase="kernel", outcome="ok"),
    at(109.1, "begin", node="a", step="a/boot", phase="ssh", limit=24, expected=6),
    at(116.1, "end", node="a", step="a/boot", phase="ssh", outcome="ok"),
    at(116.1, "end", node="a", step="a/boot", outcome="ok"),
    at(116.1, "begin", node="a", step="a/session", expected=1),
    at(116.2, "end", node="a", step="a/session", outcome="ok"),
    at(116.2, "end", outcome="ok"),
)


def lines(*events: Event, verbosity: int = 0) -> list[str]:
    out = io.StringIO()
    listen = Lines(out, verbosity)
    for event in events:
        listen(event)
    return out.getvalue().splitlines()


def test_a_line_per_phase_and_per_step_that_took_its_time() -> None:
    assert lines(*STORY) == [
        "image 0bbd2b46e721: started ..., expected 20 s",
        "image 0bbd2b46e721: packages done (5.0 s)",
        "image 0bbd2b46e721: done (6.0 s, expected 20)",
        "demo: runs on emulation (TCG): KVM does not work",
        "a: boot ..., expected 10 s",
        "a: kernel done (3.0 s, expected 4)",
        "a: ssh done (7.0 s, expected 6)",
        "a: boot done (10.0 s, expected 10)",
        "demo: done (16.2 s)",
    ]


def test_verbose_lines_tell_all_and_very_verbose_the_console() -> None:
    more, most = lines(*STORY, verbosity=1), lines(*STORY, verbosity=2)
    assert "a: disks ..., expected 1 s" in more
    assert "a: disks done (0.1 s, expected 1)" in more
    assert set(most) - set(more) == {"a: | Linux version 6"}


def test_failures_are_told_with_their_cause() -> None:
    told = lines(
        at(0.5, "begin", node="a", step="a/boot", expected=3),
        at(1, "begin", node="a", step="a/boot", phase="kernel", expected=4),
        at(3, "end", node="a", step="a/boot", phase="kernel", outcome="failed", cause="no-root"),
        at(3, "fault", node="a", message="pulled disk0"),
    )
    assert told == ["a: kernel FAILED [no-root] (2.0 s, expected 4)", "a: FAILED: pulled disk0"]


@pytest.mark.parametrize("outcome", ["cached", "undone"])
def test_what_was_not_done_is_quiet_unless_asked(outcome: Outcome) -> None:
    event = at(1, "end", node="a", step="a/boot", outcome=outcome)
    assert lines(event) == []
    assert lines(event, verbosity=1) == [f"a: boot {outcome}"]


def test_the_share_follows_expected_times_and_never_runs_ahead() -> None:
    board = Board()
    shares = []
    for event in STORY:
        track = board.find(event)
        track.take(event)
        if event.node == "a" and track.step == "boot":
            shares.append(track.share(event.t_mono))
    assert shares[0] == 0
    assert shares == sorted(shares, key=lambda share: share or 0)
    assert shares[-1] == 1
    late = Board().find(STORY[8])
    late.take(STORY[8])
    late.take(STORY[9])
    assert late.share(106.1 + 2) == pytest.approx(0.2)
    assert late.share(106.1 + 400) == pytest.approx(0.38), "a late phase waits before its end"
    assert late.label(106.1 + 400) == "boot: kernel 400/4 s"


def test_a_step_that_nobody_timed_has_no_share() -> None:
    track = Board().find(STORY[0])
    track.take(at(1, "begin", node="a", step="a/boot"))
    assert track.share(5) is None


def test_bars_are_drawn_for_nodes_and_images() -> None:
    screen = io.StringIO()
    clock = {"now": 0.0}
    progress = Progress("{task.description} {task.percentage:.0f}% {task.fields[spent]} {task.fields[what]}",
                        console=Console(file=screen, width=100, force_terminal=True), auto_refresh=False)  # fmt: skip
    bars = Bars(progress, lambda: clock["now"])
    for event in STORY[:11]:
        clock["now"] = event.t_mono
        bars(event)
    clock["now"] = 108.1
    bars.tick()
    shown = {task.description: (task.completed, task.fields["what"], task.fields["spent"]) for task in progress.tasks}
    assert shown == {
        "image 0bbd2b46e721": (1, "image 0bbd2b46e721 done", ""),
        "a": (pytest.approx(0.2), "boot: kernel 2/4 s", "2/10 s"),
    }
    for event in STORY[11:]:
        bars(event)
    assert progress.tasks[1].fields["what"] == "ready"
    assert progress.tasks[1].completed == 1


def test_json_lines_are_the_events_with_secrets_blanked() -> None:
    out = io.StringIO()
    listen = json_lines(out)
    listen(at(1, "line", node="a", text="from http://user:hunter2@mirror/"))
    (line,) = out.getvalue().splitlines()
    assert Event.from_json(line).data == {"text": "from http://***@mirror/"}
    assert json.loads(line)["v"] == VERSION


def app(tmp: str, verbosity: int = 0) -> App:
    return App(Places.from_environment({"HOME": tmp}), {}, verbosity)


def test_the_listener_fits_the_stream(capsys: pytest.CaptureFixture[str], tmp_path: object) -> None:
    """Captured streams are no terminals: lines it is; quiet says nothing; jsonl goes to stdout."""
    for how, verbosity in (("table", 0), ("table", -1), ("jsonl", -1)):
        with listening(app(str(tmp_path), verbosity), how) as listen:
            for event in STORY[:5]:
                listen(event)
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 5
    assert len(err.splitlines()) == 3


INSTALLING = (
    at(100, "begin", node="a", step="a/boot:install"),
    at(100, "begin", node="a", step="a/boot:install", phase="answers", limit=900, left=900),
    at(200, "line", node="a", step="a/boot:install", phase="answers", text="step netcfg", source="installer"),
    at(200, "progress", node="a", step="a/boot:install", phase="answers", elapsed=100, left=600),
)


def test_an_installation_that_never_ran_before_tells_what_is_left_and_where_it_is() -> None:
    board = Board()
    for event in INSTALLING:
        track = board.find(event)
        track.take(event)
    assert track.remaining(260) == 540
    assert track.remaining(9000) == 0
    assert track.share(200) == pytest.approx(100 / 700)
    assert track.label(205) == "boot install: answers 105 s (step netcfg)"
    track.take(at(300, "begin", node="a", step="a/boot:disk", expected=30))
    assert (track.remaining(310), track.note) == (20, "")


def test_what_the_installer_tells_is_shown_when_asked_for() -> None:
    assert lines(*INSTALLING) == []
    assert "a: | step netcfg" in lines(*INSTALLING, verbosity=1)


def test_a_bar_of_a_long_step_tells_the_minutes_that_are_left() -> None:
    with Progress(console=Console(file=io.StringIO(), width=200)) as progress:
        bars = Bars(progress, lambda: 200)
        for event in INSTALLING:
            bars(event)
        assert progress.tasks[0].fields["spent"] == "100 s, 10 min left"
        assert progress.tasks[0].completed == pytest.approx(100 / 700)
