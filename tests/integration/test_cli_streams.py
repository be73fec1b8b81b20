"""The command as scripts meet it: statuses, streams, signals, a terminal, a lab of tiny guests."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.events import Event
from tests.support.lab import ROOT, Bench, bench

pytestmark = pytest.mark.integration

ONE = "name: one\nnodes: {a: {system: tiny}}\n"


@pytest.fixture
def here() -> Iterator[Bench]:
    with bench() as made:
        yield made


@pytest.fixture(scope="module")
def up() -> Iterator[Bench]:
    """A lab of one tiny node, up for the tests that only look into it."""
    with bench() as made:
        made.run("up", made.lab(ONE), check=True)
        yield made


def on_a_terminal(here: Bench, *arguments: str, talk: tuple[tuple[bytes, bytes], ...] = ()) -> tuple[int, bytes]:
    """Run with a pseudo-terminal as stdin, stdout and stderr. `talk`: what to wait for, and what to type then."""
    master, slave = pty.openpty()
    process = subprocess.Popen(here.argv(*arguments), env={**here.env, "TERM": "xterm", "COLUMNS": "100"}, stdin=slave,
                               stdout=slave, stderr=slave, start_new_session=True)  # fmt: skip
    os.close(slave)
    shown, turn, rest, deadline = b"", 0, list(talk), time.monotonic() + 60
    try:
        while time.monotonic() < deadline:
            ready, _, _ = select.select([master], [], [], 0.2)
            try:
                data = os.read(master, 65536) if ready else b""
            except OSError:
                break
            shown += data
            if rest and (at := shown.find(rest[0][0], turn)) >= 0:
                turn = at + len(rest[0][0])
                os.write(master, rest.pop(0)[1])
        assert not rest, (rest, shown)
        return process.wait(5), shown
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        os.close(master)


def test_up_prints_its_result_on_stdout_and_its_progress_on_stderr(here: Bench) -> None:
    lab = here.lab(ONE)
    done = here.run("up", lab, "-o", "json", check=True)
    assert json.loads(done.stdout)["state"] == "ready"
    assert "a: ssh done (" in done.stderr
    again = here.run("up", lab, "-q", "-o", "json", check=True)
    assert json.loads(again.stdout)["state"] == "ready"
    assert again.stderr == ""
    down = here.run("down", lab)
    assert (down.returncode, down.stdout, down.stderr) == (0, "", "one is down\n")
    twice = here.run("down", lab, "-o", "json")
    assert (twice.returncode, json.loads(twice.stdout)) == (0, [{"lab": "one", "was_up": False}])


def test_events_as_json_lines(here: Bench) -> None:
    done = here.run("up", here.lab(ONE), "-o", "jsonl", check=True)
    events = [Event.from_json(line) for line in done.stdout.splitlines()]
    numbers = [event.seq for event in events]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert [e.phase for e in events if e.kind == "end" and e.phase and e.node == "a"][-1] == "ssh"
    assert (events[-1].kind, events[-1].node, events[-1].outcome) == ("end", None, "ok")
    assert done.stderr == ""


def test_the_guest_s_status_and_streams_are_the_command_s(up: Bench) -> None:
    for status in (0, 1, 3, 254):
        assert up.run("exec", "one", "a", "--", "sh", "-c", f"exit {status}").returncode == status
    words = ["a b", "$HOME", "'q'", '"', "-x", "*", "\\"]
    said = up.run("exec", "one", "a", "--", "printf", "%s\\n", *words, check=True)
    assert said.stdout.splitlines() == words
    piped = subprocess.run(
        up.argv("exec", "one", "a", "cat"), env=up.env, input=b"\x00\xff\n", capture_output=True, check=True
    )
    assert piped.stdout == b"\x00\xff\n"


def test_options_before_the_dashes_are_ours_and_after_them_the_guest_s(up: Bench) -> None:
    assert up.run("exec", "one", "a", "--", "test", "-t", "0").returncode == 1, "no terminal unless asked for"
    assert up.run("exec", "one", "a", "test", "-d", "/").returncode == 0
    assert up.run("ssh", "one", "--", "hostname", check=True).stdout == "a\n"
    tty = ((b"pts", b"\n"),)
    status, shown = on_a_terminal(up, "exec", "one", "a", "-t", "--", "sh", "-c", "tty; read x; exit 5", talk=tty)
    assert (status, b"/dev/pts/" in shown) == (5, True)


def test_a_shell_on_a_terminal(up: Bench) -> None:
    status, shown = on_a_terminal(up, "ssh", "one", talk=((b"#", b"echo nonce-$((6*7))\n"), (b"nonce-42", b"exit 7\n")))
    assert (status, b"nonce-42" in shown) == (7, True)


@pytest.mark.parametrize(
    "arguments",
    [["exec", "one", "nobody", "--", "true"], ["exec", "none", "a", "--", "true"], ["exec", "one"],
     ["exec", "one", "a"], ["exec", "one", "a", "x", "--", "true"], ["exec", "--no-such-option"], ["ssh", "none"],
     ["ssh", "/no/such.yaml"]],
    ids=" ".join,
)  # fmt: skip
def test_what_never_reached_the_guest_is_255(arguments: list[str], up: Bench) -> None:
    done = up.run(*arguments)
    assert (done.returncode, done.stdout) == (255, "")
    assert done.stderr


@pytest.mark.parametrize(
    ("arguments", "status"),
    [(["status", "none"], 1), (["status"], 2), (["up", "no-such.yaml"], 2), (["up", "none"], 1), (["reap"], 0),
     (["console", "none", "a"], 1), (["console", "one", "nobody"], 2), (["test", "none"], 1), (["down", "none"], 0)],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_statuses(arguments: list[str], status: int, up: Bench) -> None:
    done = up.run(*arguments)
    assert (done.returncode, done.stdout) == (status, ""), done.stderr
    assert done.stderr, "people are told, also that there was nothing to do"


def test_ls_and_status_as_data(up: Bench) -> None:
    (lab,) = json.loads(up.run("ls", "-o", "json", check=True).stdout)
    assert (lab["lab"], lab["state"]) == ("one", "ready")
    assert up.run("ls", "-o", "name").stdout == "one\n"
    (node,) = up.status("one")["nodes"]
    assert {"name", "system", "state", "ssh"} <= set(node)
    table = up.run("ls").stdout.splitlines()
    assert table[0].split() == ["LAB", "STATE", "READY", "RUNS", "ON", "ENDS"]
    assert table[1].split()[:3] == ["one", "ready", "1/1"]


def test_the_console_log_is_printed_as_it_is(up: Bench) -> None:
    log = Path(up.status("one")["nodes"][0]["console_log"]).read_bytes()
    done = subprocess.run(up.argv("console", "one", "a", "--log"), env=up.env, capture_output=True, check=True)
    assert done.stdout[: len(log)] == log
    assert b"nestlab-tiny: ready" in log


def test_the_console_is_live_and_the_escape_leaves_it(up: Bench) -> None:
    # The shell is there already. Two lines at once are too quick for it: what is typed while it changes the mode of
    # its terminal after the first gets lost.
    talk = ((b"~ # ", b"echo nonce-$((6*7))\n"), (b"nonce-42", b"\x1d"))
    status, shown = on_a_terminal(up, "console", "one", talk=talk)
    assert (status, b"nonce-42" in shown) == (0, True)


def test_checks_run_and_leave_junit(up: Bench) -> None:
    done = up.run("test", "one", "--", "-q", "-p", "no:cacheprovider")
    assert done.returncode == 0, done.stdout + done.stderr
    junit = up.places.lab("one") / "junit.xml"
    assert f"JUnit: {junit}" in done.stderr
    suite = ET.parse(junit).getroot()
    assert int(next(suite.iter("testsuite")).attrib["tests"]) > 0


def test_a_check_that_fails_is_status_1_and_no_check_is_too(up: Bench) -> None:
    assert up.run("test", "one", "--", "-q", "-k", "no_such_test_name").returncode == 1
    assert up.run("test", "one", "--", "--no-such-option").returncode == 2


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_up_leaves_nothing_and_returns_when_that_is_so(signum: signal.Signals, here: Bench) -> None:
    process = here.start("up", here.lab(ONE))
    deadline = time.monotonic() + 60
    log = here.places.lab("one") / "nodes/a/console.log"
    while not log.exists():
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signum)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (130, "")
    assert err.endswith("interrupted\n")
    assert here.left() == [], "at the moment the prompt is back"


def test_an_interrupted_up_of_a_lab_that_is_up_leaves_it_up(here: Bench) -> None:
    lab = here.lab(ONE)
    here.run("up", lab, check=True)
    lab.write_text("name: one\nnodes: {a: {system: tiny}, b: {system: tiny}}\n")
    process = here.start("up", lab)
    deadline = time.monotonic() + 60
    while not (here.places.lab("one") / "nodes/b/console.log").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130
    assert here.run("exec", "one", "a", "--", "true").returncode == 0


def test_interrupted_checks_end_as_interrupted(up: Bench, tmp_path: Path) -> None:
    """SIGTERM reaches our process alone; the pytest below it is told, reports, and nothing of it stays."""
    started, plugin = tmp_path / "started", tmp_path / "slow_checks.py"
    plugin.write_text(
        "import os, pathlib, time\n"
        "def pytest_runtest_call(item):\n"
        f"    pathlib.Path({str(started)!r}).write_text(str(os.getpid()))\n"
        "    time.sleep(60)\n"
    )
    up.env["PYTHONPATH"] = f"{tmp_path}:{ROOT}"
    process = up.start("test", "one", "--", "-q", "-p", "slow_checks")
    del up.env["PYTHONPATH"]
    deadline = time.monotonic() + 30
    while not started.exists() or not started.read_text():
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "KeyboardInterrupt" in out, "pytest had the time to say so"
    assert err.endswith("interrupted\n")
    assert not Path(f"/proc/{started.read_text()}").exists()


def test_bars_are_drawn_on_a_terminal_and_lines_are_not(here: Bench) -> None:
    here.env.pop("NO_COLOR", None)
    status, shown = on_a_terminal(here, "up", str(here.lab(ONE)))
    assert status == 0
    assert b"\x1b[" in shown, "bars are redrawn in place"
    assert "━".encode() in shown
    assert b"lab one: ready" in shown, "the result comes after them"
    assert b"a: ssh done (" not in shown


def test_no_color(here: Bench) -> None:
    """On a terminal, where there would be some."""
    colored = {key: value for key, value in here.env.items() if key != "NO_COLOR"}
    here.env = colored
    assert b"\x1b[31m" in on_a_terminal(here, "status", "none")[1]
    here.env = {**colored, "NO_COLOR": "1"}
    assert b"\x1b[" not in on_a_terminal(here, "status", "none")[1]


def test_the_console_of_a_lab_that_did_not_come_up_is_kept(here: Bench) -> None:
    done = here.run("up", here.lab("name: late\nnodes: {a: {system: tiny}}\n"), "--timeout-scale", "0.003")
    assert done.returncode == 4, done.stderr
    assert "waited" in done.stderr
    log = here.run("console", "late", "a")
    assert log.returncode == 0, log.stderr
    assert "last failure" in log.stderr
