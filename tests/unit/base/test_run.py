"""Running other programs: what they said, what went wrong, and that nothing of them stays."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from builder.errors import CommandFailed, MissingTool, TimedOut
from builder.run import need, process_start_time, run, stream
from tests.support.repo import ROOT


def alive(pid: int) -> bool:
    return process_start_time(pid) is not None


def gone(pid: int, *, within: float = 5) -> bool:
    deadline = time.monotonic() + within
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not alive(pid)


def test_output_and_status_come_back() -> None:
    result = run(["sh", "-c", "cat; echo oops >&2; exit 3"], stdin=b"in", check=False)
    assert (result.returncode, result.stdout, result.stderr, result.ok) == (3, "in", "oops\n", False)


def test_a_program_without_input_reads_nothing() -> None:
    assert run(["cat"], timeout=5).stdout == ""


def test_bytes_that_are_no_text_are_replaced() -> None:
    assert run(["printf", r"a\377b"]).stdout == "a\ufffdb"


def test_a_failure_names_a_line_that_can_be_pasted() -> None:
    with pytest.raises(CommandFailed) as failed:
        run(["sh", "-c", "echo first; echo 'the reason' >&2; exit 7", "a b"], hint="do that")
    assert failed.value.returncode == 7
    assert "sh -c 'echo first; echo '\"'\"'the reason'\"'\"' >&2; exit 7' 'a b'" in str(failed.value)
    assert "| the reason" in str(failed.value)
    assert failed.value.hint == "do that"


def test_a_failure_shows_no_secret() -> None:
    with pytest.raises(CommandFailed) as failed:
        run(["sh", "-c", "echo 'bad: $6$salt$abcdefgh/.0' >&2; exit 1"])
    assert "salt" not in failed.value.stderr
    assert "***" in failed.value.stderr


def test_a_program_that_is_not_there() -> None:
    with pytest.raises(MissingTool, match="no-such-program-here"):
        run(["no-such-program-here"])


def test_need_says_why_and_how() -> None:
    assert Path(need("sh", why="test", package="dash")).name == "sh"
    with pytest.raises(MissingTool) as missing:
        need("no-such-program-here", why="make tea", package="teapot")
    assert "needed to make tea" in missing.value.message
    assert missing.value.hint == "apt-get install teapot"
    assert missing.value.exit_code == 3


def test_too_long_is_an_error_and_the_whole_group_ends(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    script = f"sleep 60 & echo $! > '{pids}'; echo $$ >> '{pids}'; wait"
    with pytest.raises(TimedOut) as late:
        run(["sh", "-c", script], timeout=0.5)
    assert late.value.exit_code == 4
    assert [pid for pid in map(int, pids.read_text().split()) if not gone(pid)] == []


def test_stream_hands_on_both_outputs_as_lines_come() -> None:
    lines: list[str] = []
    status = stream(["sh", "-c", "echo one; echo two >&2; printf three; exit 5"], on_line=lines.append, timeout=10)
    assert (status, lines) == (5, ["one", "two", "three"])


def test_stream_too_long() -> None:
    with pytest.raises(TimedOut):
        stream(["sleep", "60"], on_line=lambda _: None, timeout=0.3)


def test_stream_can_be_stopped() -> None:
    stop = threading.Event()
    lines: list[str] = []

    def on_line(line: str) -> None:
        lines.append(line)
        stop.set()

    status = stream(["sh", "-c", "echo $$; sleep 60"], on_line=on_line, timeout=60, stop=stop)
    assert status < 0
    assert gone(int(lines[0]))


def test_a_listener_that_fails_ends_the_program() -> None:
    seen: list[int] = []

    def on_line(line: str) -> None:
        seen.append(int(line))
        raise RuntimeError("listener")

    with pytest.raises(RuntimeError, match="listener"):
        stream(["sh", "-c", "echo $$; sleep 60"], on_line=on_line, timeout=60)
    assert gone(seen[0])


def test_a_killed_parent_takes_its_child_along(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    code = f"from builder.run import run; run(['sh', '-c', 'echo $$ > {note}; exec sleep 60'])"
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    deadline = time.monotonic() + 10
    while not (note.exists() and note.read_text().endswith("\n")) and time.monotonic() < deadline:
        time.sleep(0.02)
    child = int(note.read_text())
    assert alive(child)
    parent.kill()
    parent.wait()
    assert gone(child)


def test_start_time_tells_one_process_from_another() -> None:
    own = process_start_time(os.getpid())
    assert own is not None
    assert own == process_start_time(os.getpid())
    with subprocess.Popen(["sleep", "60"]) as child:
        assert process_start_time(child.pid) not in {None, own}
        child.kill()
    assert process_start_time(child.pid) is None
