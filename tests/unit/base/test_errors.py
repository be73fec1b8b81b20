"""Errors: what they say, in which order, and the status each ends the program with."""

from __future__ import annotations

import pytest

from builder.errors import (
    CommandFailed,
    HostLacks,
    Interrupted,
    LabError,
    LabFileError,
    MissingTool,
    NodeFailed,
    Problem,
    TimedOut,
    UsageError,
)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (LabError("x"), 1),
        (UsageError("x"), 2),
        (LabFileError("lab.yaml", []), 2),
        (HostLacks("x"), 3),
        (MissingTool("x", why="y", package="z"), 3),
        (TimedOut("x", seconds=1), 4),
        (CommandFailed(["x"], returncode=1, stderr=""), 1),
        (NodeFailed("n", "x", cause="y"), 1),
        (Interrupted("x"), 130),
    ],
)
def test_exit_status(error: LabError, status: int) -> None:
    assert error.exit_code == status


def test_the_hint_stands_under_the_message() -> None:
    assert str(LabError("no", hint="try this")) == "no\n  hint: try this"
    assert str(LabError("no")) == "no"


def test_problems_are_told_in_file_order_with_their_place() -> None:
    error = LabFileError(
        "lab.yaml", [Problem("b", "second", "h2", line=9, column=1), Problem("a", "first", "h1", line=2, column=3)]
    )
    assert str(error) == "lab.yaml:2:3: first [a]\n  hint: h1\nlab.yaml:9:1: second [b]\n  hint: h2"


def test_a_timeout_says_what_was_awaited_and_what_was_seen() -> None:
    error = TimedOut("ssh", seconds=61.4, node="dom0", last_lines=["Xen 4.20", "panic"], hint="look")
    assert str(error) == "dom0: waited 61 s for ssh, which did not come\n  | Xen 4.20\n  | panic\n  hint: look"


def test_a_failed_node_names_phase_and_cause() -> None:
    error = NodeFailed("dom0", "the kernel panicked", cause="kernel-panic", phase="dom0 kernel", last_lines=["end"])
    assert str(error) == "dom0: the kernel panicked (during dom0 kernel) [kernel-panic]\n  | end"
