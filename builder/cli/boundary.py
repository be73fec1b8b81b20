"""The one place where errors become messages and exit statuses."""

from __future__ import annotations

import errno
import io
import os
import select
import signal
import sys
import traceback
from collections.abc import Sequence
from types import FrameType

import click

from builder.cli.frame import PREFIX, PROGRAM, Terminated, root, wants_color
from builder.cli.output import printable, speaks_utf8
from builder.cli.verbs import find
from builder.errors import LabError, LabFileError
from builder.secrets import redact

INTERRUPTED = 130
USAGE = 2
# What the shell reports of a program that died because its reader went away.
BROKEN_PIPE = 128 + signal.SIGPIPE
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT}


def guarded(args: Sequence[str]) -> int:
    """Run the command line and return the exit status. Raises nothing."""
    _open_streams()
    signal.signal(signal.SIGTERM, _terminated)
    context: list[click.Context] = []
    try:
        status = _dispatch(args, context)
        sys.stdout.flush()
        return status
    except click.exceptions.Exit as stop:
        return _flushed(stop.exit_code)
    except (KeyboardInterrupt, click.Abort):
        _say("interrupted")
        return INTERRUPTED
    except click.ClickException as error:
        _say_usage(error)
        return _own_failure(context, USAGE)
    except LabError as error:
        _report(error)
        return error.exit_code if error.exit_code == INTERRUPTED else _own_failure(context, error.exit_code)
    except Exception as error:
        if isinstance(error, BrokenPipeError) and _reader_gone():
            _silence()
            return BROKEN_PIPE
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            _report(_no_room(error))
            if not error.filename:
                _silence()
            return _own_failure(context, 1)
        _say(redact("".join(traceback.format_exception(error))).rstrip())
        _say("This is a bug in nestlab: please report it with the lines above.")
        return _own_failure(context, 1)


def _dispatch(args: Sequence[str], context: list[click.Context]) -> int:
    instruction = os.environ.get(f"_{PREFIX}_COMPLETE")
    if instruction:
        from click.shell_completion import shell_complete

        return shell_complete(root, {}, PROGRAM, f"_{PREFIX}_COMPLETE", instruction)
    with root.make_context(PROGRAM, list(args)) as ctx:
        context.append(ctx)
        status = root.invoke(ctx)
    return status if isinstance(status, int) else 0


def _own_failure(context: Sequence[click.Context], status: int) -> int:
    """`exec` and `ssh` keep all statuses but one for the guest."""
    verb = find(context[0].invoked_subcommand or "") if context else None
    return status if verb is None or verb.own_failure is None else verb.own_failure


def _report(error: LabError) -> None:
    """Problems of a file start with the place, so that editors can jump there; anything else says it is an error."""
    label = "" if isinstance(error, LabFileError) else _label()
    _say(label + printable(redact(str(error))))


def _say_usage(error: click.ClickException) -> None:
    """In the form of our own errors. A verb of verbs that was given none shows its help instead."""
    ctx = error.ctx if isinstance(error, click.UsageError) else None
    if ctx is None or type(error).__name__ == "NoArgsIsHelpError":  # click 8.1 has no such class
        error.show(sys.stderr)
        return
    said = printable(redact(error.format_message())).removesuffix(".")
    usage = ctx.get_usage().removeprefix("Usage: ")
    _say(f"{_label()}{said}\n  usage: {usage}\n  hint: {ctx.command_path} --help")


def _label() -> str:
    color = wants_color(os.environ, stream_is_tty=sys.stderr.isatty())
    return click.style("error: ", fg="red") if color else "error: "


def _no_room(error: OSError) -> LabError:
    """A full disk is no bug, wherever it was met; our own output has no file name."""
    where = f"{error.filename} cannot" if error.filename else "nothing more can"
    hint = "make room where the output goes; `nestlab doctor` shows nestlab's own folders"
    return LabError(f"{where} be written: {error.strerror}", hint=hint)


def _say(text: str) -> None:
    try:
        click.echo(text, err=True)
    except OSError:
        # Nobody can be told that nobody can be told.
        _silence()


def _flushed(status: int) -> int:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _silence()
        return BROKEN_PIPE
    return status


def _reader_gone() -> bool:
    """Whether it is our own output that nobody reads; any other broken pipe is a bug worth its traceback."""
    for stream in (sys.stdout, sys.stderr):
        poller = select.poll()
        try:
            poller.register(stream.fileno(), 0)
        except (OSError, ValueError):
            continue
        if any(mask & select.POLLERR for _, mask in poller.poll(0)):
            return True
    return False


def _open_streams() -> None:
    """A stream that the caller has closed leads nowhere: the next file that is opened must not become our output."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
            setattr(sys, name, open(number, "w" if number else "r", encoding="utf-8", closefd=False))  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A name of a file that is no text goes out as it came in; what the locale has no letters for is written out.
        sys.stdout.reconfigure(errors="surrogateescape" if speaks_utf8() else "backslashreplace")


def _silence() -> None:
    """Point both streams at nothing, so that Python's own flush at exit has nothing to complain about."""
    null = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            os.dup2(null, stream.fileno())
        except (OSError, ValueError):
            continue


def _terminated(_signum: int, _frame: FrameType | None) -> None:
    raise Terminated
