"""The boundary: every way a verb can end becomes one exit status, and messages go to stderr."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
import yaml

from builder.cli import boundary, frame
from builder.errors import HostLacks, Interrupted, LabError, LabFileError, Problem, TimedOut, UsageError

ROOT = Path(__file__).resolve().parents[3]


def _raise(error: BaseException) -> Callable[[], None]:
    def verb() -> None:
        raise error

    return verb


@pytest.fixture
def ending(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., int]]:
    """Run a verb that does what it is given; SIGTERM's handler is put back."""
    before = signal.getsignal(signal.SIGTERM)

    def run(verb: Callable[[], int | None], name: str = "up") -> int:
        monkeypatch.setattr(frame, "load", lambda _: click.Command(name, callback=verb))
        return boundary.guarded([name])

    yield run
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (LabError("it broke", hint="mend it"), 1, "error: it broke\n  hint: mend it\n"),
        (UsageError("not so"), 2, "error: not so\n"),
        (HostLacks("no qemu", hint="apt-get install qemu"), 3, "error: no qemu\n  hint: apt-get install qemu\n"),
        (TimedOut("ssh", seconds=9, node="a"), 4, "error: a: waited 9 s for ssh, which did not come\n"),
        (Interrupted("stopped"), 130, "error: stopped\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (
            OSError(errno.ENOSPC, "No space left on device", "/srv/x"),
            1,
            "error: /srv/x cannot be written: No space left on device\n"
            "  hint: make room where the output goes; `nestlab doctor` shows nestlab's own folders\n",
        ),
        (
            LabFileError("x.yaml", [Problem("lab-size", "bad", "good", line=3, column=5)]),
            2,
            "x.yaml:3:5: bad [lab-size]\n  hint: good\n",
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_errors_become_statuses(
    error: BaseException, status: int, said: str, ending: Callable[..., int], capfd: pytest.CaptureFixture[str]
) -> None:
    assert ending(_raise(error)) == status
    out, err = capfd.readouterr()
    assert (out, err) == ("", said)


@pytest.mark.parametrize(
    ("error", "status"),
    [(LabError("it broke"), 255), (HostLacks("no ssh"), 255), (click.UsageError("which?"), 255),
     (RuntimeError("a bug"), 255), (KeyboardInterrupt(), 130), (Interrupted("stopped"), 130)],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)  # fmt: skip
@pytest.mark.parametrize("name", ["exec", "ssh"])
def test_statuses_of_the_guest_are_left_to_the_guest(
    error: BaseException, status: int, name: str, ending: Callable[..., int]
) -> None:
    assert ending(_raise(error), name) == status


@pytest.mark.parametrize(
    ("words", "said", "usage"),
    [
        ("up", "Missing argument 'LAB'", "nestlab up [OPTIONS] LAB"),
        ("up --job 3 x", "No such option", "nestlab up [OPTIONS] LAB"),
        ("validat x", "No such command 'validat'. Did you mean validate?", "nestlab [OPTIONS] COMMAND [ARGS]..."),
        ("media build", "where to? Give --out FILE, --out - or --in-place", "nestlab media build [OPTIONS] [LAB NODE]"),
    ],
)
def test_wrong_usage_has_the_form_of_all_errors(
    words: str, said: str, usage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert boundary.guarded(words.split()) == 2
    first, second, third = capsys.readouterr().err.splitlines()
    assert first.startswith(f"error: {said}")
    assert second == f"  usage: {usage}"
    assert third == f"  hint: {usage.partition(' [')[0]} --help"


def test_a_verb_returns_its_status(ending: Callable[..., int]) -> None:
    assert ending(lambda: 3) == 3
    assert ending(lambda: None) == 0


def test_an_unknown_exception_is_a_traceback_and_keeps_secrets(
    ending: Callable[..., int], capfd: pytest.CaptureFixture[str]
) -> None:
    assert ending(_raise(RuntimeError("http://user:hunter2@mirror/ is odd"))) == 1
    err = capfd.readouterr().err
    assert "Traceback" in err
    assert "RuntimeError" in err
    assert "bug in nestlab" in err
    assert "hunter2" not in err


def test_secrets_in_messages_are_blanked(ending: Callable[..., int], capfd: pytest.CaptureFixture[str]) -> None:
    ending(_raise(LabError("http://user:hunter2@mirror/ failed")))
    assert capfd.readouterr().err == "error: http://***@mirror/ failed\n"


def test_a_broken_pipe_of_our_own_is_a_bug(ending: Callable[..., int], capfd: pytest.CaptureFixture[str]) -> None:
    """Only when it is our reader that went away is there nobody to tell."""
    assert ending(_raise(BrokenPipeError(32, "some socket"))) == 1
    assert "Traceback" in capfd.readouterr().err


def test_sigterm_ends_like_ctrl_c(ending: Callable[..., int]) -> None:
    def verb() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        signal.pause()

    assert ending(verb) == 130


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "builder", *arguments]


def test_a_reader_that_goes_away_is_no_error() -> None:
    """`nestlab settings | head -1`, for real: a pipe whose reading end is closed before anything is written."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(command("settings"), stdout=writing, stderr=subprocess.PIPE, cwd=ROOT, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")


def test_a_closed_stderr_does_not_hide_the_status() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(command("status", "nothing"), stdout=subprocess.PIPE, stderr=writing, cwd=ROOT, check=False)
    os.close(writing)
    assert (done.returncode, done.stdout) == (1, b"")


@pytest.mark.parametrize("arguments", [["systems"], ["schema"]], ids=lambda words: words[0])
def test_a_full_disk_under_stdout_is_said(arguments: list[str]) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(command(*arguments), stdout=full, stderr=subprocess.PIPE, cwd=ROOT, check=False)
    assert done.returncode == 1
    first, hint = done.stderr.decode().splitlines()
    assert first == "error: nothing more can be written: No space left on device"
    assert "make room" in hint


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_bug(closed: str) -> None:
    line = f'exec "$@" {closed}'
    done = subprocess.run(
        ["sh", "-c", line, "sh", *command("systems")], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert ("debian" in done.stdout) is (" >&-" not in f" {closed}")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8:strict"])
def test_letters_that_the_locale_lacks(encoding: str, tmp_path: Path) -> None:
    lab = tmp_path / "euro.yaml"
    lab.write_text('name: euro\ndescription: "€ and é"\nnodes: {a: {system: tiny}}\n', "utf-8")
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    for how, read in (("json", json.loads), ("yaml", yaml.safe_load)):
        argv = command("plan", str(lab), "-o", how)
        done = subprocess.run(argv, capture_output=True, cwd=ROOT, check=False, env=environment)
        assert (done.returncode, done.stderr) == (0, b"")
        assert read(done.stdout.decode(encoding.partition(":")[0]))["lab"]["description"] == "€ and é"


@pytest.mark.parametrize("encoding", ["ascii", "utf-8:strict"])
def test_a_name_that_is_no_text(encoding: str, tmp_path: Path) -> None:
    lab = os.fsencode(tmp_path) + b"/\xff\xc3\xa9.yaml"
    with open(lab, "w") as file:
        file.write("name: odd\nnodes: {a: {system: tiny}}\n")
    done = subprocess.run([*command("validate", "--no-limits"), lab], capture_output=True, cwd=ROOT, check=False,
                          env={**os.environ, "PYTHONIOENCODING": encoding})  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    assert (lab in done.stdout) is encoding.startswith("utf-8")


def test_nothing_given_is_help_and_usage() -> None:
    done = subprocess.run(command(), capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Usage: nestlab" in done.stderr
