"""Running other programs: no shell, no inherited stdin, a deadline, the whole process group ended together."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from builder.errors import CommandFailed, MissingTool, TimedOut
from builder.secrets import redact

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Result:
    """What a finished command left behind. `stdout` and `stderr` are text; undecodable bytes are replaced."""

    argv: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str

    @property
    def ok(self) -> bool:
        return self.returncode == 0


def die_with_parent() -> None:
    """For preexec: the child is killed when the thread that started it goes away, so kill -9 of us leaves no child."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def need(tool: str, *, why: str, package: str) -> str:
    """The tool's path. Raises MissingTool with the line that installs it. /usr/sbin is looked at too."""
    path = shutil.which(tool) or shutil.which(tool, path="/usr/sbin:/sbin:/usr/local/sbin")
    if path is None:
        raise MissingTool(tool, why=why, package=package)
    return path


def run(  # noqa: PLR0913 - the parameters are those of running a program
    argv: Sequence[str | Path],
    *,
    stdin: bytes | None = None,
    timeout: float = 120,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    check: bool = True,
    hint: str | None = None,
) -> Result:
    """Run to the end and return what it said.

    Raises CommandFailed (when `check`), TimedOut after `timeout` seconds, MissingTool when the program is absent.
    """
    args = tuple(str(a) for a in argv)
    process = _start(args, cwd=cwd, env=env, stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL)
    try:
        out, err = process.communicate(stdin, timeout=timeout)
    except subprocess.TimeoutExpired:
        end_group(process)
        raise TimedOut(f"the end of '{args[0]}'", seconds=timeout, hint=f"by hand: {' '.join(args)}") from None
    except BaseException:
        end_group(process)
        raise
    result = Result(args, process.returncode, out.decode(errors="replace"), err.decode(errors="replace"))
    if check and not result.ok:
        raise CommandFailed(
            args, returncode=result.returncode, stderr=redact(result.stderr or result.stdout), hint=hint
        )
    return result


def stream(
    argv: Sequence[str | Path],
    *,
    on_line: Callable[[str], None],
    timeout: float,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stop: threading.Event | None = None,
) -> int:
    """Run a long program, handing on each line of its output (both streams) as it comes; returns its status.

    Raises TimedOut after `timeout` seconds. When `stop` is set the group is ended and the status returned is negative.
    """
    args = tuple(str(a) for a in argv)
    process = _start(args, cwd=cwd, env=env, stdin=subprocess.DEVNULL, merge=True)
    timed_out = threading.Event()
    done = threading.Event()

    def watch() -> None:
        waited = 0.0
        while not done.wait(0.2):
            waited += 0.2
            if waited > timeout:
                timed_out.set()
            if timed_out.is_set() or (stop is not None and stop.is_set()):
                end_group(process)
                return

    watcher = threading.Thread(target=watch, name=f"watch {args[0]}", daemon=True)
    watcher.start()
    try:
        assert process.stdout is not None
        for raw in process.stdout:
            on_line(redact(raw.decode(errors="replace").rstrip("\r\n")))
        process.wait()
    except BaseException:
        end_group(process)
        raise
    finally:
        done.set()
        watcher.join()
        if process.stdout is not None:
            process.stdout.close()
    if timed_out.is_set():
        raise TimedOut(f"the end of '{args[0]}'", seconds=timeout)
    return process.returncode


def outliving(
    argv: Sequence[str], name: str, hold: Callable[[subprocess.Popen[bytes]], None]
) -> subprocess.Popen[bytes]:
    """Start a program that lives on when the calling thread ends, and dies with this process: a thread of its own
    starts it, and is in `hold` for as long as it runs. All three streams are pipes. Raises MissingTool."""
    started: Future[subprocess.Popen[bytes]] = Future()

    def keep() -> None:
        try:
            process = subprocess.Popen(
                argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
                preexec_fn=die_with_parent,  # noqa: PLW1509 - one prctl, safe between fork and exec
            )  # fmt: skip
        except FileNotFoundError:
            started.set_exception(MissingTool(argv[0], why="go on", package=argv[0]))
            return
        started.set_result(process)
        hold(process)
        process.wait()

    threading.Thread(target=keep, name=name, daemon=True).start()
    return started.result()


def end_group(process: subprocess.Popen[bytes], *, grace: float = 5) -> None:
    """Ask the process group to end, then make it."""
    for signum, wait in ((signal.SIGTERM, grace), (signal.SIGKILL, 10)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signum)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(wait)
            if signum == signal.SIGKILL:
                return


def _start(
    args: tuple[str, ...],
    *,
    cwd: Path | None,
    env: Mapping[str, str] | None,
    stdin: int,
    merge: bool = False,
) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            args,
            cwd=cwd,
            env=None if env is None else {**os.environ, **env},
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if merge else subprocess.PIPE,
            start_new_session=True,
            preexec_fn=die_with_parent,  # noqa: PLW1509 - one prctl, safe between fork and exec
        )
    except FileNotFoundError:
        raise MissingTool(args[0], why="go on", package=args[0]) from None


def process_start_time(pid: int) -> int | None:
    """Clock ticks since boot at which `pid` started, or None. With the pid it names one process for good."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] == "Z" else int(fields[19])
