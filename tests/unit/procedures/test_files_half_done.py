"""Files that others change too, and runs that are stopped half way: nothing of theirs is lost, nothing stays behind."""

from __future__ import annotations

import os
import shlex
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from builder.errors import LabError
from builder.procedures import xlconf
from builder.procedures.errors import Failed
from builder.procedures.log_rotation import OFTEN, TIMER, Asked, _Xl
from builder.procedures.log_trigger import CHANNELS, CONF, UNREAD, unused
from builder.procedures.remote_syslog import JOURNAL, PATH
from tests.support.fake_host import FakeHost
from tests.unit.procedures.test_files import SYSLOG, Logs, do, undo, xl_host


@pytest.mark.parametrize("conf", ["autoballoon=1\nb=2\n  autoballoon = 'on' # why\n", "b=1", "b=1\n\n\nautoballoon=1"])
def test_xl_conf_comes_back_byte_by_byte(conf: str) -> None:
    """Several lines for the key, of which the last counts, and a last line without an end."""
    host = xl_host(conf)
    assert do(host, "autoballoon-off").result == "applied"
    assert undo(host, "autoballoon-off").result == "undone"
    assert host.files[xlconf.PATH].decode() == conf


def test_what_others_wrote_into_xl_conf_since_stays() -> None:
    host = xl_host("autoballoon=1\nautoballoon=on\n")
    do(host, "autoballoon-off")
    host.files[xlconf.PATH] += b"claim_mode=1\n"
    assert undo(host, "autoballoon-off").result == "undone"
    assert host.files[xlconf.PATH] == b"autoballoon=on\nclaim_mode=1\n"


@pytest.fixture
def logs() -> Logs:
    host = Logs("enabled")
    host.files |= {path: text.encode() for path, text in SYSLOG.items()}
    return host


@pytest.mark.parametrize("back", [False, True])
def test_whenever_rsyslogd_is_started_its_channels_are_there(logs: Logs, back: bool) -> None:
    """A channel that is written to and not defined loses what is logged: seen after each file that is written."""
    if back:
        do(logs, "log-rotation")
    lost: list[str] = []
    write, answer = logs.write, logs._answer

    def look() -> None:
        text = "".join(logs.files.get(path, b"").decode() for path in (CHANNELS, CONF))
        lost.extend(name for name in unused(text) if f":omfile:${name}" in text)

    def written(path: str, content: bytes, *, mode: int = 0o644) -> None:
        write(path, content, mode=mode)
        look()

    def answered(argv: Sequence[str], line: str) -> tuple[int, str]:
        said = answer(argv, line)
        look()
        return said

    logs.write, logs._answer = written, answered  # type: ignore[method-assign]
    (undo if back else do)(logs, "log-rotation")
    assert lost == []


def test_lines_that_others_wrote_into_rsyslog_conf_since_stay(logs: Logs) -> None:
    do(logs, "log-rotation")
    logs.files[CONF] += b"*.*\t@@logs.example.org:514\nlocal7.*\t-/var/log/boot.log\n"
    assert undo(logs, "log-rotation").result == "undone"
    assert logs.files[CONF].decode() == (SYSLOG[CONF] + "*.*\t@@logs.example.org:514\nlocal7.*\t-/var/log/boot.log\n")
    assert CHANNELS not in logs.files


def test_a_timer_that_others_switched_off_since_is_on_again(logs: Logs) -> None:
    do(logs, "log-rotation")
    logs.timer = "disabled"
    assert undo(logs, "log-rotation").result == "undone"
    assert logs.timer == "enabled" and OFTEN not in logs.files


def test_a_rule_that_is_a_remark_is_none(tmp_path: Path) -> None:
    host = Logs("enabled")
    calls: list[str] = []
    host.answers["sh -c 'grep -ls"] = lambda argv: calls.append(argv[2]) or ""  # type: ignore[func-returns-value]
    _Xl().look(host, Asked())
    (tmp_path / "remark").write_text("# /var/log/xen/*.log is rotated elsewhere\n/var/log/x {\n}\n")
    (tmp_path / "rule").write_text("/var/log/x /var/log/xen/*.log {\n}\n")
    script = calls[0].replace("/etc/logrotate.d", str(tmp_path))
    said = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False).stdout
    assert said.splitlines() == [str(tmp_path / "rule")]


class Restarts(FakeHost):
    """A host with rsyslogd, whose connection may be lost before its services are restarted."""

    QUESTIONS = (*FakeHost.QUESTIONS, "rsyslogd -N1", "mkdir -p")

    def __init__(self) -> None:
        self.lost, self.known = False, {PATH: b"", JOURNAL: b""}
        self.of = {"rsyslog": PATH, "systemd-journald": JOURNAL}
        super().__init__({
            "sh -c 'command -v rsyslogd'": "", "rsyslogd -N1": "", "mkdir -p": "",
            f"sh -c {shlex.quote(UNREAD)}": lambda _: "".join(
                f"unread {name}\n" for name, path in self.of.items() if self.known[path] != self.files.get(path, b"")),
            "sh -c": lambda _: "20\n" if self.known[PATH] and self.known[JOURNAL] else "0\n",
            "systemctl restart": self._restart,
        })  # fmt: skip

    def _restart(self, argv: Sequence[str]) -> str | int:
        if not self.lost:
            self.known[self.of[argv[2]]] = self.files.get(self.of[argv[2]], b"")
        return 255 if self.lost else ""


def test_restarts_that_a_run_was_stopped_before_are_made_up_for() -> None:
    host = Restarts()
    host.lost = True
    with pytest.raises(Failed):
        do(host, "remote-syslog", server="192.0.2.7")
    host.lost = False
    assert do(host, "remote-syslog", server="192.0.2.7").result == "applied"
    assert do(host, "remote-syslog", server="192.0.2.7").result == "unchanged"
    host.lost = True
    with pytest.raises(Failed):
        undo(host, "remote-syslog")
    host.lost = False
    assert undo(host, "remote-syslog").result == "undone"
    assert host.known == {PATH: b"", JOURNAL: b""}


def test_rotation_that_was_stopped_before_a_restart_goes_on(logs: Logs) -> None:
    restart, told = logs.answers["systemctl restart rsyslog"], ""
    logs.answers["systemctl restart rsyslog"] = 255
    logs.answers[f"sh -c {shlex.quote(UNREAD)}"] = lambda _: told
    with pytest.raises(Failed):
        do(logs, "log-rotation")
    logs.answers["systemctl restart rsyslog"], told = restart, f"unread rsyslog\nunread {TIMER}\n"
    assert do(logs, "log-rotation").actions == (
        "systemctl daemon-reload", f"systemctl try-restart {TIMER}", "rsyslogd -N1", "systemctl restart rsyslog",
    )  # fmt: skip
    told = ""
    assert do(logs, "log-rotation").result == "unchanged"


@pytest.mark.parametrize(("age", "there", "unread"), [(60, True, True), (60, False, True), (600, True, False)])
def test_a_service_older_than_its_file_is_told(tmp_path: Path, age: int, there: bool, unread: bool) -> None:
    """systemctl(1), show -p: NAME=VALUE. The service runs for five minutes, a file or its folder is that many seconds
    old."""
    started = (float(Path("/proc/uptime").read_text().split()[0]) - 300) * 1e6
    program = tmp_path / "systemctl"
    program.write_text(f'#!/bin/sh\n[ "$*" = "show -p ActiveEnterTimestampMonotonic rsyslog" ] && '
                       f'echo "ActiveEnterTimestampMonotonic={started:.0f}"\n')  # fmt: skip
    program.chmod(0o755)
    file = tmp_path / "conf.d/file"
    file.parent.mkdir()
    if there:
        file.touch()
    os.utime(file if there else file.parent, (time.time() - age,) * 2)
    done = subprocess.run(["sh", "-c", UNREAD, "sh", "rsyslog", file], capture_output=True, text=True, check=True,
                          env={"PATH": f"{tmp_path}:/usr/bin:/bin"})  # fmt: skip
    assert done.stdout == ("unread rsyslog\n" if unread else "")


def test_a_journal_that_stays_is_told() -> None:
    """The next run would keep its old text of what was before."""
    host = xl_host("autoballoon=1\n")
    do(host, "autoballoon-off")
    host.answers["rm -f -- /var/lib/nestlab/"] = 1
    with pytest.raises(LabError, match="cannot be taken away"):
        undo(host, "autoballoon-off")
    del host.answers["rm -f -- /var/lib/nestlab/"]
    assert undo(host, "autoballoon-off").result == "undone"
