"""rsyslogd has a log rotated the moment that it is too large, as XCP-ng does: each file is written through an output
channel (`$outchannel NAME,FILE,BYTES,COMMAND`), which runs a command when the file has that size."""

from __future__ import annotations

import hashlib
import re

from builder.errors import LabError
from builder.model.host import Host
from builder.model.lab import Value
from builder.model.units import MIB, show_size
from builder.procedures.api import Action, Evidence, as_it_was, run, same
from builder.procedures.asking import read_text

CONF = "/etc/rsyslog.conf"
RULE = "/etc/logrotate.d/rsyslog"
"""Debian's rules for what rsyslogd writes, and for how that is rotated."""
CHANNELS = "/etc/rsyslog.d/00-nestlab-rotation.conf"
"""First of its folder: what is logged for a check goes no further, to no other machine either."""
CHECK_LOG = "/var/log/nestlab-rotation.log"
TAG = "nestlab-rotation"
_COMMAND = f"/usr/sbin/logrotate {RULE}"
_FILE_RULE = re.compile(r"^(?P<selector>[^\s#:$&]\S*)(?P<space>\s+)-?(?P<path>/var/log/\S+)$", re.MULTILINE)
_CHANNEL = re.compile(r"^\$outchannel\s+(\w+),\s*([^,\s]+),\s*(\d+),\s*(\S.*)$", re.MULTILINE)


class Syslog(Value):
    """Texts of rsyslogd's files; empty for one that is not there."""

    conf: str
    channels: str
    rule: str

    def __str__(self) -> str:
        """Short enough for a line: which texts they are."""
        parts = ((CONF, self.conf), (CHANNELS, self.channels), (RULE, self.rule))
        return ", ".join(f"{path} {hashlib.sha256(text.encode()).hexdigest()[:8] if text else 'none'}"
                         for path, text in parts)  # fmt: skip


class Channel(Value):
    """An output channel: `command` is run when `path` has `size` bytes."""

    name: str
    path: str
    size: int
    command: str


def channels_in(text: str) -> tuple[Channel, ...]:
    """The output channels that a file of rsyslogd's defines."""
    return tuple(
        Channel(name=name, path=path, size=int(size), command=command.strip())
        for name, path, size, command in _CHANNEL.findall(text)
    )


def unused(text: str) -> tuple[str, ...]:
    """Channels that are written to and not defined, or the other way round: what is logged there is lost."""
    written = set(re.findall(r":omfile:\$(\w+)", text))
    return tuple(sorted(written ^ {channel.name for channel in channels_in(text)}))


def syslog_of(host: Host) -> Syslog | None:
    """None for a host without rsyslogd, whose log systemd's journal keeps by limits of its own."""
    if not host.run(["sh", "-c", "command -v rsyslogd"]).ok:
        return None
    conf, channels, rule = (read_text(host, path) or "" for path in (CONF, CHANNELS, RULE))
    return Syslog(conf=conf, channels=channels, rule=rule)


def turning(now: Syslog, size: int, keep: int) -> Syslog:
    """The files by which every log turns at this size, and each day. Raises LabError where that cannot be said by
    changing these."""
    conf, channels = through_channels(without_channels(now.conf, now.channels), size)
    return Syslog(conf=conf, channels=channels, rule=daily(now.rule, size, keep))


def changes(now: Syslog, wanted: Syslog, *, again: bool = False) -> tuple[Action, ...]:
    """What leads from one to the other. Channels are there before they are written to, and as long as they are:
    whatever starts rsyslogd in between, nothing that is logged is lost. `again`: it did not read what came last."""
    parts = [(CHANNELS, now.channels, wanted.channels), (CONF, now.conf, wanted.conf), (RULE, now.rule, wanted.rule)]
    if not wanted.channels:
        parts.append(parts.pop(0))
    todo: list[Action] = [as_it_was(path, after or None) for path, before, after in parts if before != after]
    if now.rule != wanted.rule:
        todo.append(run("logrotate", "-d", RULE, hint="logrotate does not take the rule"))
    if again or (now.conf, now.channels) != (wanted.conf, wanted.channels):
        todo.append(run("rsyslogd", "-N1", hint="rsyslogd does not take its configuration"))
        todo.append(run("systemctl", "restart", "rsyslog", seconds=120))
    return tuple(todo)


def through_channels(conf: str, size: int) -> tuple[str, str]:
    """rsyslog.conf with every file below /var/log written through a channel, and the file that defines the channels.
    Raises LabError for a configuration that has no such rule."""
    found = list(dict.fromkeys(match["path"] for match in _FILE_RULE.finditer(conf)))
    if not found:
        raise LabError(f"{CONF} writes no file below /var/log")
    names = {path: f"nestlab_{number}" for number, path in enumerate(found, 1)}
    lines = [
        "# Written by `nestlab procedure run`: log-rotation.",
        *(f"$outchannel {name},{path},{size},{_COMMAND}" for path, name in names.items()),
        f"$outchannel nestlab_check,{CHECK_LOG},{size},{_COMMAND}",
        f':syslogtag, startswith, "{TAG}" :omfile:$nestlab_check',
        "& stop",
    ]
    edited = _FILE_RULE.sub(lambda it: f"{it['selector']}{it['space']}:omfile:${names[it['path']]}", conf)
    return edited, "".join(f"{line}\n" for line in lines)


def without_channels(conf: str, channels: str) -> str:
    """rsyslog.conf with the files again that these channels stand for."""
    for channel in channels_in(channels):
        conf = re.sub(rf"(\s):omfile:\${channel.name}$", rf"\g<1>{channel.path}", conf, flags=re.MULTILINE)
    return conf


def given_back(now: Syslog, before: Syslog) -> Syslog:
    """The files as they were; in rsyslog.conf that is the lines which we changed, and others stay as they are now."""
    paths = {channel.name: channel.path for channel in channels_in(now.channels)}
    lines = {(it["selector"], it["space"], it["path"]): it[0] for it in _FILE_RULE.finditer(before.conf)}

    def line(found: re.Match[str]) -> str:
        selector, space, name = found.groups()
        path = paths.get(name)
        return found[0] if path is None else lines.get((selector, space, path), f"{selector}{space}{path}")

    conf = re.sub(r"^(\S+)(\s+):omfile:\$(\w+)$", line, now.conf, flags=re.MULTILINE)
    return before.model_copy(update={"conf": conf})


def daily(rule: str, size: int, keep: int) -> str:
    """The rule of a package's file with its logs rotated each day or beyond a size, and the check's log among them.
    Raises LabError for a text that is no such rule."""
    rule = re.sub(rf"^({re.escape(CHECK_LOG)}|[ \t]*maxsize .*)\n", "", rule, flags=re.MULTILINE)
    often = rf"\g<1>daily\n\g<1>maxsize {size // MIB}M"
    rule, changed = re.subn(r"^([ \t]*)(daily|weekly|monthly|yearly)$", often, rule, count=1, flags=re.MULTILINE)
    if not changed or not re.search(r"^[ \t]*delaycompress$", rule, re.MULTILINE):
        raise LabError(f"{RULE} does not say how often, or does not compress from the second on")
    rule = re.sub(r"^([ \t]*)rotate \d+$", rf"\g<1>rotate {keep}", rule, flags=re.MULTILINE)
    return f"{CHECK_LOG}\n{rule}"


# $1 bytes, $2 log, $3 socket, $4 what has rsyslogd let go of the log, $5 seconds that a turn may take. The log is grown
# to just below the size, as empty space, and then filled by rsyslogd with lines that are logged, until it turns; three
# times. What is printed: `early N` for a turn before its time, `N: FILES`, and how many lines were logged and how many
# of them lie in the files.
TURN = r"""
set -e
log=$2
name=${log##*/}
socket=$3
let_go=$4
sent=0
finish() {
  rm -f -- "$log" "$log".*
  eval "$let_go"
}
closed() {
  for i in $(seq 60); do
    eval "$let_go"
    find /proc/[0-9]*/fd -lname "$log*" 2>/dev/null | grep -q . || return 0
    sleep 1
  done
}
lines() {
  seq -f "line %0900.0f" "$1" | logger -d -u "$socket" -p daemon.info -t nestlab-rotation
  sent=$((sent + $1))
}
finish
trap finish EXIT
for round in 1 2 3; do
  truncate -s $(($1 - 65536)) "$log"
  closed
  lines 32
  sleep 2
  turned=$(find "${log%/*}" -name "$name.*" | wc -l)
  [ "$turned" -lt "$round" ] || echo "early $round"
  lines 64
  for i in $(seq "$5"); do
    [ ! -e "$log.1" ] || { [ ! -e "$log.$round" ] && [ ! -e "$log.$round.gz" ]; } || break
    sleep 1
  done
  files=$(find "${log%/*}" -name "$name.*" | sed 's|.*/||' | sort | tr '\n' ' ')
  echo "$round: ${files% }"
  [ -n "$files" ] || break
done
for i in 1 2 3 4 5; do
  in_all=$(for file in "$log" "$log".*; do
    case "$file" in *.gz) gzip -dc "$file" ;; *) cat "$file" 2>/dev/null ;; esac
  done | tr -d '\0' | grep -c 'nestlab-rotation.*line' || :)
  [ "$in_all" -lt "$sent" ] || break
  sleep 2
done
echo "lines: $in_all of $sent"
"""
HUP = "systemctl kill -s HUP --kill-whom=main rsyslog.service"
SECONDS = 120
SOCKET = "/run/systemd/journal/syslog"
"""Where journald hands lines on to rsyslogd, which listens there whether it does or not."""


def turned(said: str, size: int, log: str, failed: str = "") -> tuple[Evidence, ...]:
    """What `TURN` saw."""
    rows = said.splitlines()
    rounds = dict(row.split(": ", 1) for row in rows if ": " in row)
    name = log.rpartition("/")[2]
    wanted = {
        number: " ".join([f"{name}.1", *(f"{name}.{older}.gz" for older in range(2, number + 1))])
        for number in (1, 2, 3)
    }
    early = [row for row in rows if row.startswith("early ")]
    what = f"a log that rsyslogd fills beyond {show_size(size)}"
    found = [
        same(f"{what}, for the {number}. time", files, rounds.get(str(number)) or failed or "nothing")
        for number, files in wanted.items()
    ]
    counted = re.fullmatch(r"(\d+) of (\d+)", rounds.get("lines", ""))
    return (
        *found,
        same("rotated before it had that size", "never", ", ".join(early) or "never"),
        same("lines that were logged meanwhile and lie in one of the files", counted[2] if counted else "all",
             counted[1] if counted else "not counted"),
    )  # fmt: skip


def turn(host: Host, size: int) -> tuple[Evidence, ...]:
    """The host's own rsyslogd and logrotate, with the log that is there for this."""
    done = host.run(["sh", "-c", TURN, "sh", str(size), CHECK_LOG, SOCKET, HUP, str(SECONDS)], timeout=1800)
    return turned(done.stdout, size, CHECK_LOG, done.stderr.strip()[-200:])


# The same for a host whose settings are not touched: a second rsyslogd with a log of its own in a folder of its own,
# through a channel as the host's, and logrotate by the settings on this script's input. $1 bytes, $2 the script above,
# $3 seconds that a turn may take.
_BESIDE = r"""
set -e
folder=$(mktemp -d)
end() {
  [ ! -s "$folder/pid" ] || kill "$(cat "$folder/pid")" 2>/dev/null || :
  rm -rf "$folder"
}
trap end EXIT
{
  cat
  printf '"%s/own.log" {\n  missingok\n  postrotate\n    kill -HUP $(cat %s/pid)\n  endscript\n}\n' "$folder" "$folder"
} >"$folder/settings"
printf '#!/bin/sh\nlogrotate -s %s/state %s/settings\n' "$folder" "$folder" >"$folder/rotate"
cat >"$folder/conf" <<END
\$ModLoad imuxsock
\$OmitLocalLogging on
\$InputUnixListenSocketCreatePath off
\$AddUnixListenSocket $folder/socket
\$outchannel own,$folder/own.log,$1,/bin/sh $folder/rotate
*.* :omfile:\$own
END
rsyslogd -f "$folder/conf" -i "$folder/pid"
for i in $(seq 30); do [ ! -S "$folder/socket" ] || [ ! -s "$folder/pid" ] || break; sleep 1; done
sh -c "$2" sh "$1" "$folder/own.log" "$folder/socket" "kill -HUP \$(cat $folder/pid)" "$3"
"""


def turn_beside(host: Host, size: int, settings: str, seconds: int = SECONDS) -> tuple[Evidence, ...]:
    """The host's programs with the host's settings for logrotate, on a log made for it."""
    call = ["sh", "-c", _BESIDE, "sh", str(size), TURN, str(seconds)]
    done = host.run(call, stdin=settings.encode() or b"\n", timeout=1800)
    return turned(done.stdout, size, "own.log", done.stderr.strip()[-200:])


# Pairs of a service and its file; `unread SERVICE` for one that was started before the file was written. Of a file that
# is not there, the folder: it may have gone away since. Two seconds are what rounding takes.
UNREAD = r"""
while [ $# -gt 1 ]; do
  start=$(systemctl show -p ActiveEnterTimestampMonotonic "$1" | sed -n 's/^[^=]*=//p')
  at=$2
  [ -e "$at" ] || at=${at%/*}
  written=$(stat -c %Y "$at" 2>/dev/null || echo 0)
  ran=$(($(cut -d. -f1 /proc/uptime) - ${start:-0} / 1000000))
  [ $(($(date +%s) - written + 2)) -ge "$ran" ] || echo "unread $1"
  shift 2
done
"""


def unread(host: Host, *pairs: str) -> tuple[str, ...]:
    """The services, each given before its file, that do not know of it yet: whoever wrote it was stopped then."""
    said = host.run(["sh", "-c", UNREAD, "sh", *pairs]).stdout.splitlines()
    return tuple(line.partition(" ")[2] for line in said if line.startswith("unread "))


def described(channels: tuple[Channel, ...]) -> str:
    """Sizes and commands that channels have between them."""
    return "; ".join(sorted({f"{show_size(each.size)}: {each.command}" for each in channels})) or "none"
