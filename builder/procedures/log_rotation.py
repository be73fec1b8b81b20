"""Logs that do not fill the disk: rotated each day and beyond 100 MiB, compressed from the second on."""

from __future__ import annotations

import re
from typing import ClassVar

from pydantic import Field

from builder.model.host import Host, World
from builder.model.units import MIB
from builder.procedures.api import (
    Action,
    Dead,
    Drill,
    Evidence,
    Mebibytes,
    Options,
    Procedure,
    Refusal,
    State,
    Way,
    Write,
    as_it_was,
    holds,
    run,
    same,
)  # fmt: skip
from builder.procedures.asking import ask, read_text

PATH = "/etc/logrotate.d/nestlab-xen"
LOGS = "/var/log/xen/*.log"
TIMER = "logrotate.timer"
# cron's own file for it does nothing where systemd runs: then it is the timer that counts.
_WHEN = f"""\
if systemctl -q is-enabled {TIMER} 2>/dev/null; then
  systemctl show -p NextElapseUSecRealtime {TIMER} | sed -n 's/^[^=]*=\\([A-Z].*\\)/\\1/p'
elif [ ! -d /run/systemd/system ] || ! grep -qs systemd /etc/cron.daily/logrotate; then
  [ ! -x /etc/cron.daily/logrotate ] || systemctl is-active cron crond 2>/dev/null | grep -x -m1 active
fi
"""

# Rotates logs of its own in a folder of its own, by the settings on its input: one that is too large three times, and a
# small one beside it, which is not a day old. Says what lies there after each time.
_PROVOKE = r"""
set -e
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/settings"
printf '"%s/*.log" {\n%s\n}\n' "$folder" "$2" >>"$folder/settings"
echo small >"$folder/small.log"
for round in 1 2 3; do
  truncate -s "$1" "$folder/large.log"
  logrotate -s "$folder/state" "$folder/settings"
  echo "$round: $(cd "$folder" && echo large.log?* small.log*)"
done
"""


class Asked(Options):
    size: Mebibytes = Field(100 * MIB, description="a log larger than this is rotated at once (plain Xen)")
    keep: int = Field(31, ge=1, le=1000, description="how many rotated logs are kept (plain Xen)")


class _State(State):
    """`text` is our rule, `others` are files that have a rule for Xen's logs already. `timer` is what systemd says of
    logrotate's: enabled, disabled, masked, or nothing where there is none."""

    passing: ClassVar[frozenset[str]] = frozenset({"others", "logrotate"})

    text: str | None
    others: tuple[str, ...]
    logrotate: bool
    timer: str = ""


def _timer(host: Host) -> str:
    said = host.run(["systemctl", "is-enabled", TIMER]).stdout.strip()
    return said if said in {"enabled", "disabled", "masked"} else ""


def _has(host: Host) -> bool:
    return host.run(["sh", "-c", "command -v logrotate"]).ok


def _missing(state: _State) -> tuple[Refusal, ...]:
    if state.logrotate:
        return ()
    return (Refusal(code="no-logrotate", message="the host has no logrotate",
                    hint="in a lab file: packages: [logrotate]; else install it on the host"),)  # fmt: skip


class _Xl(Way[Asked, _State]):
    state = _State
    sample = _State(text=None, others=(), logrotate=True)

    def look(self, host: Host, asked: Asked) -> _State:  # noqa: ARG002
        listed = host.run(["sh", "-c", "grep -ls '/var/log/xen/' /etc/logrotate.d/*"]).stdout.split()
        return _State(
            text=read_text(host, PATH),
            others=tuple(path for path in listed if path != PATH),
            logrotate=_has(host),
            timer=_timer(host),
        )

    def refusals(self, state: _State, asked: Asked) -> tuple[Refusal, ...]:  # noqa: ARG002
        twice = Refusal(
            code="other-rule",
            message=f"{' '.join(state.others)} has a rule for Xen's logs: logrotate takes none of two",
            hint="change that file, or take it away",
        )
        return (*_missing(state), *([twice] if state.others else []))

    def actions(self, state: _State, asked: Asked) -> tuple[Action, ...]:
        wanted = f"# Written by `nestlab procedure run`: log-rotation.\n{LOGS} {{\n{_rule(asked)}\n}}\n"
        todo: list[Action] = []
        if state.text != wanted:
            todo += [Write(PATH, wanted), run("logrotate", "-d", PATH, hint="logrotate does not take the rule")]
        if state.timer == "masked":
            todo.append(run("systemctl", "unmask", TIMER, seconds=120))
        if state.timer in {"masked", "disabled"}:
            todo.append(run("systemctl", "enable", "--now", TIMER, seconds=120))
        return tuple(todo)

    def undo(self, state: _State, before: _State, asked: Asked) -> tuple[Action, ...]:  # noqa: ARG002
        todo: list[Action] = []
        if state.text != before.text:
            todo.append(as_it_was(PATH, before.text))
        if state.timer != before.timer:
            todo.append(run("systemctl", "disable", "--now", TIMER, seconds=120))
            todo += [run("systemctl", "mask", TIMER, seconds=120)] if before.timer == "masked" else []
        return tuple(todo)

    def check(self, world: World, host: Host, asked: Asked) -> tuple[Evidence, ...]:  # noqa: ARG002
        rule = re.sub(r"^.*?\{\n|\}\n?$", "", read_text(host, PATH) or "", flags=re.DOTALL)
        when = host.run(["sh", "-c", _WHEN]).stdout.strip()
        return (
            *provoked(host, asked.size, rule=rule),
            holds("when it is run next", "a time, or by cron", when or "never", bool(when)),
        )


def _rule(asked: Asked) -> str:
    words = ("daily", f"maxsize {asked.size // MIB}M", f"rotate {asked.keep}", "compress", "delaycompress", "missingok",
             "notifempty", "copytruncate")  # fmt: skip
    return "\n".join(f"    {word}" for word in words)


def provoked(host: Host, size: int, *, settings: str = "", rule: str = "") -> tuple[Evidence, ...]:
    """What logrotate does by these settings with logs of its own."""
    done = host.run(["sh", "-c", _PROVOKE, "sh", str(size + MIB), rule], stdin=settings.encode() or b"\n", timeout=1200)
    rounds = dict(line.split(": ", 1) for line in done.stdout.splitlines() if ": " in line)
    wanted = {
        "1": "large.log.1 small.log",
        "2": "large.log.1 large.log.2.gz small.log",
        "3": "large.log.1 large.log.2.gz large.log.3.gz small.log",
    }
    said = done.stderr.strip().splitlines()
    return tuple(
        same(f"a log beyond {size // MIB} MiB, rotated {number} times, and a small one",
             files, rounds.get(number) or (said[-1] if said else "nothing"))
        for number, files in wanted.items()
    )  # fmt: skip


class _Xe(Way[Asked, _State]):
    """XCP-ng sets this up itself, and asks not to change its files: an update could not change them any more then."""

    state = _State
    changes = False
    sample = _State(text=None, others=(), logrotate=True)

    def look(self, host: Host, asked: Asked) -> _State:  # noqa: ARG002
        return _State(text=None, others=(), logrotate=_has(host))

    def actions(self, state: _State, asked: Asked) -> tuple[Action, ...]:  # noqa: ARG002
        return ()

    def undo(self, state: _State, before: _State, asked: Asked) -> tuple[Action, ...]:  # noqa: ARG002
        return ()

    def check(self, world: World, host: Host, asked: Asked) -> tuple[Evidence, ...]:  # noqa: ARG002
        text = read_text(host, "/etc/logrotate.conf") or ""
        rest = re.sub(r"^(include .*|/[^{]*\{.*?^\})$", "", text, flags=re.MULTILINE | re.DOTALL)
        trigger = ask(host, "sh", "-c", "grep -hs logrotate /etc/rsyslog.d/xenserver.conf; :")
        own = ask(host, "sh", "-c", "cat /etc/xensource/xapi-logrotate.conf /etc/logrotate.d/xapi 2>/dev/null; :")
        return (
            *provoked(host, 100 * MIB, settings=rest),
            same("rsyslogd starts logrotate when a log is full", True, "logrotate" in trigger),
            same("xensource.log has a rule of its own", True, "xensource.log" in own),
        )


PROCEDURE = Procedure(
    name="log-rotation",
    title="Rotation of logs",
    summary="Logs are rotated each day, and before that when they grow beyond 100MiB; the last one stays as it is, "
    "older ones are compressed. Seen with logs made for it. On XCP-ng nothing is changed, only looked at: its "
    "documents ask not to edit these files, which updates could no longer change then.",
    options=Asked,
    ways={"xl": _Xl(), "xe": _Xe()},
    sources=("XCP-ng guide: Logging system", "logrotate(8)", "systemd.timer(5)"),
    refuses={
        "no-logrotate": "the host has no logrotate",
        "other-rule": "another file has a rule for the same logs",
    },
    drill=Drill(packages=("logrotate",)),
    dead=(
        Dead(
            says="xensource.log is rotated each hour by /etc/xensource/xapi-logrotate.conf",
            why="newer XAPI brings /etc/logrotate.d/xapi instead: both places are looked at",
        ),
    ),
)
