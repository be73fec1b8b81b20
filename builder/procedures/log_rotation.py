"""Logs that do not fill the disk: rotated each day and beyond 100 MiB, compressed from the second on."""

from __future__ import annotations

import re
from typing import ClassVar

from pydantic import Field

from builder.errors import LabError
from builder.model.host import Host, World
from builder.model.units import MIB, show_size
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
from builder.procedures.asking import ask, listed, read_text
from builder.procedures.log_trigger import (
    CHANNELS,
    Syslog,
    changes,
    channels_in,
    described,
    given_back,
    syslog_of,
    turn,
    turn_beside,
    turning,
    unread,
    unused,
)

PATH = "/etc/logrotate.d/nestlab-xen"
LOGS = "/var/log/xen/*.log"
TIMER = "logrotate.timer"
XENSERVER = "/etc/rsyslog.d/xenserver.conf"
DAILY_SCRIPT = "/etc/cron.daily/logrotate"
OFTEN = "/etc/systemd/system/logrotate.timer.d/zz-nestlab.conf"
_OFTEN = """\
# Written by `nestlab procedure run`: log-rotation. Rules say "daily" themselves: asked each hour, as XCP-ng does it for
# xensource.log, what is too large is seen within the hour.
[Timer]
OnCalendar=
OnCalendar=hourly
RandomizedDelaySec=0
"""
# cron's own file for it does nothing where systemd runs: then it is the timer that counts.
_WHEN = f"""\
if systemctl -q is-enabled {TIMER} 2>/dev/null; then
  next=$(systemctl show -p NextElapseUSecRealtime {TIMER} | sed -n 's/^[^=]*=\\([A-Z].*\\)/\\1/p')
  [ -z "$next" ] || echo "in $((($(date -d "$next" +%s) - $(date +%s) + 59) / 60)) minutes"
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
    size: Mebibytes = Field(
        100 * MIB, ge=MIB, description="a log larger than this does not wait for the next day: it is rotated at once "
        "where rsyslogd writes it, else within the hour (plain Xen)"
    )  # fmt: skip
    keep: int = Field(31, ge=1, le=1000, description="how many rotated logs are kept (plain Xen)")
    syslog: bool = Field(True, description="what rsyslogd writes as well, where the host has one (plain Xen)")


class _State(State):
    """`text` is our rule, `others` are files that have a rule for Xen's logs already. `timer` is what systemd says of
    logrotate's: enabled, disabled, masked, or nothing where there is none; `often` is our change of it. `syslog` is
    None without rsyslogd. `unread`: of these two, what does not know of its file yet."""

    passing: ClassVar[frozenset[str]] = frozenset({"others", "logrotate", "unread"})

    text: str | None
    others: tuple[str, ...]
    logrotate: bool
    timer: str = ""
    often: str | None = None
    syslog: Syslog | None = None
    unread: tuple[str, ...] = ()


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
    sample = _State(
        text=None, others=(), logrotate=True, timer="enabled",
        syslog=Syslog(
            conf="$IncludeConfig /etc/rsyslog.d/*.conf\n*.*;auth,authpriv.none\t\t-/var/log/syslog\n", channels="",
            rule="/var/log/syslog\n{\n\trotate 4\n\tweekly\n\tcompress\n\tdelaycompress\n\tpostrotate\n"
            "\t\t/usr/lib/rsyslog/rsyslog-rotate\n\tendscript\n}\n",
        ),
    )  # fmt: skip

    def look(self, host: Host, asked: Asked) -> _State:
        ruled = host.run(["sh", "-c", "grep -ls '^[^#]*/var/log/xen/' /etc/logrotate.d/*"]).stdout.split()
        return _State(
            text=read_text(host, PATH),
            others=tuple(path for path in ruled if path != PATH),
            logrotate=_has(host),
            timer=_timer(host),
            often=read_text(host, OFTEN),
            syslog=syslog_of(host) if asked.syslog else None,
            unread=unread(host, TIMER, OFTEN, "rsyslog", CHANNELS),
        )

    def refusals(self, state: _State, asked: Asked) -> tuple[Refusal, ...]:
        found = list(_missing(state))
        if state.others:
            found.append(Refusal(
                code="other-rule",
                message=f"{' '.join(state.others)} has a rule for Xen's logs: logrotate takes none of two",
                hint="change that file, or take it away",
            ))  # fmt: skip
        try:
            _turning(state, asked)
        except LabError as error:
            found.append(Refusal(code="other-syslog", message=f"rsyslogd's logs are not kept as Debian does: {error}",
                                 hint="syslog=false leaves them as they are"))  # fmt: skip
        return tuple(found)

    def actions(self, state: _State, asked: Asked) -> tuple[Action, ...]:
        wanted = f"# Written by `nestlab procedure run`: log-rotation.\n{LOGS} {{\n{_rule(asked)}\n}}\n"
        todo: list[Action] = []
        if state.text != wanted:
            todo += [Write(PATH, wanted), run("logrotate", "-d", PATH, hint="logrotate does not take the rule")]
        if state.timer and state.often != _OFTEN:
            todo += [run("mkdir", "-p", OFTEN.rpartition("/")[0]), Write(OFTEN, _OFTEN), *_READ_ANEW]
        elif state.timer == "enabled" and TIMER in state.unread:
            todo += _READ_ANEW
        if state.timer == "masked":
            todo.append(run("systemctl", "unmask", TIMER, seconds=120))
        if state.timer in {"masked", "disabled"}:
            todo.append(run("systemctl", "enable", "--now", TIMER, seconds=120))
        if state.syslog:
            todo += _to(state.syslog, asked, again="rsyslog" in state.unread)
        return tuple(todo)

    def undo(self, state: _State, before: _State, asked: Asked) -> tuple[Action, ...]:  # noqa: ARG002
        todo: list[Action] = []
        if state.text != before.text:
            todo.append(as_it_was(PATH, before.text))
        if state.timer != before.timer:
            word = "enable" if before.timer == "enabled" else "disable"
            todo.append(run("systemctl", word, "--now", TIMER, seconds=120))
            todo += [run("systemctl", "mask", TIMER, seconds=120)] if before.timer == "masked" else []
        if state.often != before.often:
            todo += [as_it_was(OFTEN, before.often), *_READ_ANEW]
        elif state.timer == "enabled" and TIMER in state.unread:
            todo += _READ_ANEW
        if state.syslog and before.syslog:
            back = given_back(state.syslog, before.syslog)
            todo += changes(state.syslog, back, again="rsyslog" in state.unread)
        return tuple(todo)

    def check(self, world: World, host: Host, asked: Asked) -> tuple[Evidence, ...]:  # noqa: ARG002
        rule = re.sub(r"^.*?\{\n|\}\n?$", "", read_text(host, PATH) or "", flags=re.DOTALL)
        when = host.run(["sh", "-c", _WHEN]).stdout.strip()
        minutes = re.fullmatch(r"in (\d+) minutes", when)
        return (
            *provoked(host, asked.size, rule=rule),
            holds("when it is run next", "within the hour, or by cron", when or "never",
                  int(minutes[1]) <= 61 if minutes else bool(when)),
            *(turn(host, asked.size) if asked.syslog and syslog_of(host) else ()),
        )  # fmt: skip

    def check_undone(self, world: World, host: Host, before: _State, asked: Asked) -> tuple[Evidence, ...]:
        """Lines of rsyslog.conf that others have changed since are theirs."""
        now = self.look(host, asked)
        if now.syslog and before.syslog and not now.syslog.channels:
            kept = before.syslog.model_copy(update={"conf": now.syslog.conf})
            before = before.model_copy(update={"syslog": kept})
        written = [name for name in unused(now.syslog.conf) if name.startswith("nestlab_")] if now.syslog else []
        return (*super().check_undone(world, host, before, asked),
                same("channels of ours that are still written to", "none", listed(written)))  # fmt: skip


_READ_ANEW = (run("systemctl", "daemon-reload", seconds=120), run("systemctl", "try-restart", TIMER, seconds=120))


def _turning(state: _State, asked: Asked) -> Syslog | None:
    return turning(state.syslog, asked.size, asked.keep) if state.syslog else None


def _to(now: Syslog, asked: Asked, *, again: bool) -> tuple[Action, ...]:
    try:
        return changes(now, turning(now, asked.size, asked.keep), again=again)
    except LabError:  # it is refused
        return ()


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
        written = read_text(host, XENSERVER) or ""
        channels = channels_in(written)
        logs = [channel.path for channel in channels]
        own = ask(host, "sh", "-c", "cat /etc/xensource/xapi-logrotate.conf /etc/logrotate.d/xapi 2>/dev/null; :")
        return (
            *provoked(host, 100 * MIB, settings=rest),
            same("when rsyslogd turns a log by itself, and by what", f"{show_size(100 * MIB)}: {DAILY_SCRIPT}",
                 described(channels)),
            holds("logs that it turns", "xensource.log among them", f"{len(logs)}: {listed(sorted(logs))}",
                  "/var/log/xensource.log" in logs),
            same("channels that are not both defined and written to", "none", listed(unused(written))),
            *turn_beside(host, 100 * MIB, rest),
            *(same(f"xensource.log's own rule says {word}", True, word in map(str.strip, own.splitlines()))
              for word in ("/var/log/xensource.log {", "maxage 31", "rotate 100")),
        )  # fmt: skip


PROCEDURE = Procedure(
    name="log-rotation",
    title="Rotation of logs",
    summary="Logs are rotated each day, and before that when they grow beyond 100MiB; the last one stays as it is, "
    "older ones are compressed. What rsyslogd writes (where the host has it) goes through its output channels, which "
    "have a log rotated the moment that it has that size: Debian's rsyslog.conf is changed for it, and its rule for "
    "logrotate. Seen with logs made for it, one of them filled by the host's own rsyslogd until it turns. On XCP-ng "
    "nothing is changed, only looked at: its documents ask not to edit these files, which updates could no longer "
    "change then.",
    options=Asked,
    ways={"xl": _Xl(), "xe": _Xe()},
    sources=(
        "XCP-ng guide: Logging system",
        "xcp-ng-release: /etc/rsyslog.d/xenserver.conf",
        "rsyslog: Output Channels",
        "logrotate(8)",
        "systemd.timer(5)",
    ),
    refuses={
        "no-logrotate": "the host has no logrotate",
        "other-rule": "another file has a rule for the same logs",
        "other-syslog": "rsyslog.conf writes no file below /var/log, or /etc/logrotate.d/rsyslog is not Debian's",
    },
    drill=Drill(packages=("logrotate", "rsyslog")),
    dead=(
        Dead(
            says="xensource.log is rotated each hour by /etc/xensource/xapi-logrotate.conf",
            why="newer XAPI brings /etc/logrotate.d/xapi instead: both places are looked at",
        ),
    ),
)
