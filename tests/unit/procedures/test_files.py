"""Procedures that change settings of the toolstack and of daemons: what is not theirs stays, byte for byte."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from builder.errors import UsageError
from builder.procedures import load_procedure, xlconf
from builder.procedures.engine import Engine, Outcome
from builder.procedures.errors import Refused, Unproven
from builder.procedures.log_rotation import OFTEN, TIMER
from builder.procedures.log_trigger import _BESIDE, CHANNELS, CHECK_LOG, CONF, RULE, TURN, Channel, channels_in
from builder.procedures.options import parse_options
from builder.procedures.remote_syslog import JOURNAL, PATH
from tests.support.fake_host import FakeHost, world

INFO = "free_memory : 2700\nxen_commandline : placeholder dom0_mem=1024M,max:1024M\n"
LIST = "Name ID Mem VCPUs State Time(s)\nDomain-0 0 1024 2 r----- 1.0\n"


def do(host: FakeHost, name: str, **options: str) -> Outcome:
    procedure = load_procedure(name)
    return Engine(world(host), sleep=lambda _: None).run("dom0", procedure, parse_options(procedure, options))


def undo(host: FakeHost, name: str) -> Outcome:
    return Engine(world(host), sleep=lambda _: None).undo("dom0", load_procedure(name))


@pytest.mark.parametrize(
    ("text", "value", "line", "after"),
    [
        ("", None, 'a="off"', 'a="off"\n'),
        ("# a=1\n", None, 'a="off"', '# a=1\na="off"\n'),
        ("b=1\n a = 'on' # why\nc=1\n", "on", 'a="off"', 'b=1\na="off"\nc=1\n'),
        ("a=1\na=2\nb=1\n", "2", "a=3", "a=3\nb=1\n"),
        ("aa=1\nba=1\n", None, None, "aa=1\nba=1\n"),
        ("a=1\nb=1\n", "1", None, "b=1\n"),
    ],
)
def test_one_line_of_xl_conf_is_changed(text: str, value: str | None, line: str | None, after: str) -> None:
    assert xlconf.value_of(xlconf.line_of(text, "a")) == value
    assert xlconf.with_line(text, "a", line) == after


def xl_host(conf: str | None, **answers: Any) -> FakeHost:
    files = {} if conf is None else {xlconf.PATH: conf}
    base: dict[str, Any] = {
        "xl info": INFO,
        "xl list": LIST,
        "uname -r": "6.12\n",
        "xl create": 1,
        "rm -f -- /run/": "",
    }
    return FakeHost({**base, **answers}, files)


@pytest.mark.parametrize(
    "conf", [None, "", 'vif.default.bridge="xenbr0"\n', "#autoballoon=\nautoballoon = 1\nlast=1\n"]
)
def test_autoballoon_is_switched_off_and_its_line_comes_back(conf: str | None) -> None:
    host = xl_host(conf)
    assert do(host, "autoballoon-off").result == "applied"
    assert b'autoballoon="off"\n' in host.files[xlconf.PATH]
    assert do(host, "autoballoon-off").result == "unchanged"
    assert undo(host, "autoballoon-off").result == "undone"
    assert host.files.get(xlconf.PATH, b"").decode() == (conf or "")


def test_a_guest_that_is_started_nevertheless_disproves_it_and_is_taken_away() -> None:
    host = xl_host("", **{"xl create": "", "xl destroy": ""})
    with pytest.raises(Unproven, match="it was started"):
        do(host, "autoballoon-off")
    assert "xl destroy nestlab-probe" in host.changes


def test_without_a_fixed_dom0_nothing_is_switched_off() -> None:
    host = xl_host("", **{"xl info": "free_memory : 9\nxen_commandline : placeholder\n"})
    with pytest.raises(Refused, match="dom0-has-all"):
        do(host, "autoballoon-off")
    assert host.files == {xlconf.PATH: b""}


class Vifs(FakeHost):
    """Interfaces of guests whose offload ethtool switches."""

    def __init__(self, conf: str) -> None:
        self.vifs = {"vif1.0": "on", "vif2.0": "off"}
        super().__init__(
            {
                "sh -c 'command -v ethtool'": "/usr/sbin/ethtool\n",
                "ethtool -K": self._switch,
                "sh -c": self._sh,
            },
            {xlconf.PATH: conf},
        )

    def _sh(self, argv: Sequence[str]) -> str:
        if "hotplug-status" in argv[2]:
            assert argv[4].endswith("/vif-nestlab-tx-off") and argv[-2:] == ["bridge", "xenbr0"]
            return "status=connected\nerror=\ntx=off\n"
        return "".join(f"{vif} {now}\n" for vif, now in self.vifs.items())

    def _switch(self, argv: Sequence[str]) -> str:
        assert argv[3] == "tx"
        self.vifs[argv[2]] = argv[4]
        return ""


@pytest.mark.parametrize(("conf", "below"), [("", "vif-bridge"), ('vif.default.script="vif-route"\n', "vif-route")])
def test_every_interface_and_those_to_come_lose_their_offload(conf: str, below: str) -> None:
    host = Vifs(conf)
    assert do(host, "vif-tx-off").result == "applied"
    assert host.vifs == {"vif1.0": "off", "vif2.0": "off"}
    script = host.files["/etc/xen/scripts/vif-nestlab-tx-off"].decode()
    assert f'"${{0%/*}}/{below}" "$@" || exit $?' in script
    assert host.modes["/etc/xen/scripts/vif-nestlab-tx-off"] == 0o755
    assert do(host, "vif-tx-off").result == "unchanged"
    host.vifs["vif3.0"] = "off"
    assert undo(host, "vif-tx-off").result == "undone"
    assert host.vifs == {"vif1.0": "on", "vif2.0": "off", "vif3.0": "on"}
    assert host.files.get(xlconf.PATH, b"").decode() == conf
    assert "/etc/xen/scripts/vif-nestlab-tx-off" not in host.files


def test_the_script_runs_the_one_below_and_then_ethtool(tmp_path: Path) -> None:
    """As xl runs it: really, with an ethtool that only says what it was asked."""
    host = Vifs("")
    do(host, "vif-tx-off")
    script = tmp_path / "vif-nestlab-tx-off"
    script.write_bytes(host.files["/etc/xen/scripts/vif-nestlab-tx-off"])
    (tmp_path / "vif-bridge").write_text('#!/bin/sh\necho "bridge $*"\n[ "$1" != fail ]\n')
    (tmp_path / "ethtool").write_text('#!/bin/sh\necho "ethtool $*"\n')
    for name in ("vif-nestlab-tx-off", "vif-bridge", "ethtool"):
        (tmp_path / name).chmod(0o755)

    (tmp_path / "xenstore-read").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "xenstore-read").chmod(0o755)

    def xl(word: str) -> tuple[str, int]:
        done = subprocess.run([script, word, "type_if=vif"], env={"PATH": f"{tmp_path}:/usr/bin:/bin", "vif": "vif7.0"},
                              capture_output=True, text=True, check=False)  # fmt: skip
        return done.stdout, done.returncode

    assert xl("online") == ("bridge online type_if=vif\nethtool -K vif7.0 tx off\n", 0)
    assert xl("offline") == ("bridge offline type_if=vif\n", 0)
    assert xl("fail") == ("bridge fail type_if=vif\n", 1)


def test_reasons_against_it_on_plain_xen() -> None:
    host = Vifs("")
    host.answers["sh -c 'command -v ethtool'"] = 1
    with pytest.raises(Refused) as caught:
        do(host, "vif-tx-off", guest="web")
    assert [refusal.code for refusal in caught.value.refusals] == ["no-ethtool", "all-guests"]
    with pytest.raises(UsageError, match="guest by guest"):
        do(FakeHost({}, dialect="xe"), "vif-tx-off")


def test_the_log_goes_to_another_machine_until_that_is_undone() -> None:
    host = FakeHost({"sh -c 'command -v rsyslogd'": "", "rsyslogd -N1": "", "systemctl restart": "", "sh -c": "23\n",
                     "mkdir -p": ""})  # fmt: skip
    assert do(host, "remote-syslog", server="192.0.2.7").result == "applied"
    assert b'*.* action(type="omfwd" target="192.0.2.7" port="514" ' in host.files[PATH]
    assert host.changes[2:5] == [f"write {PATH}", "rsyslogd -N1", "systemctl restart rsyslog"]
    assert host.files[JOURNAL].endswith(b"ForwardToSyslog=yes\n")
    assert host.changes[-1] == "systemctl restart systemd-journald"
    assert do(host, "remote-syslog", server="192.0.2.7").result == "unchanged"
    assert undo(host, "remote-syslog").result == "undone"
    assert not {PATH, JOURNAL} & set(host.files)
    assert host.changes.count("systemctl restart systemd-journald") == 2
    host.answers["sh -c"] = "19\n"
    with pytest.raises(Unproven, match="expected 20 or more, seen 19"):
        do(host, "remote-syslog", server="192.0.2.7")


def test_a_host_without_rsyslogd_is_told() -> None:
    with pytest.raises(Refused, match="no-rsyslog"):
        do(FakeHost({}), "remote-syslog", server="192.0.2.7")


class Logs(FakeHost):
    """A host whose logrotate does what its rule says; `timer` is what systemd says of logrotate's own."""

    def __init__(self, timer: str, *, sticky: bool = False) -> None:
        self.timer, self.sticky = timer, sticky
        self.channels: tuple[Channel, ...] = ()
        rounds = ("large.log.1 small.log", "large.log.1 large.log.2.gz small.log",
                  "large.log.1 large.log.2.gz large.log.3.gz small.log")  # fmt: skip
        super().__init__({
            "sh -c 'command -v logrotate'": "/usr/sbin/logrotate\n",
            "logrotate -d": "",
            "sh -c 'grep -ls": "",
            "sh -c 'command -v rsyslogd'": lambda _: "" if CONF in self.files else 1,
            "sh -c": lambda argv: "".join(f"{n}: {files}\n" for n, files in enumerate(rounds, 1))
            if "truncate" in argv[2] else self._when(),
            f"sh -c {shlex.quote(TURN)}": lambda argv: self._turn(int(argv[4])),
            "mkdir -p": "", "systemctl daemon-reload": "", "systemctl try-restart": "",
            "rsyslogd -N1": "", "systemctl restart rsyslog": lambda _: self._restart(),
            f"systemctl is-enabled {TIMER}": lambda _: self.timer,
            f"systemctl unmask {TIMER}": lambda _: self._set("disabled"),
            f"systemctl mask {TIMER}": lambda _: self._set("masked"),
            f"systemctl enable --now {TIMER}": lambda _: self._set("enabled"),
            f"systemctl disable --now {TIMER}": lambda _: self._set("disabled"),
        })  # fmt: skip

    QUESTIONS = (*FakeHost.QUESTIONS, "systemctl is-enabled", "logrotate -d", "mkdir -p")

    def _restart(self) -> str:
        self.channels = channels_in(self.files.get(CHANNELS, b"").decode())
        return ""

    def _turn(self, size: int) -> str:
        """What the script says of a log that turns at the size that rsyslogd was started with, by logrotate's rule."""
        turns = [each for each in self.channels if each.path == CHECK_LOG and each.size == size]
        rule = self.files[RULE].decode()
        if not turns or CHECK_LOG not in rule or f"maxsize {size >> 20}M" not in rule:
            return "1: \n"
        name = CHECK_LOG.rpartition("/")[2]
        names = [f"{name}.1", f"{name}.2.gz", f"{name}.3.gz"]
        return "".join(f"{n}: {' '.join(names[:n])}\n" for n in (1, 2, 3)) + "lines: 288 of 288\n"

    def _set(self, timer: str) -> str:
        self.timer = self.timer if self.sticky else timer
        return ""

    def _when(self) -> str:
        return f"in {59 if OFTEN in self.files else 900} minutes\n" if self.timer == "enabled" else ""


@pytest.mark.parametrize("timer", ["enabled", "disabled", "masked"])
def test_logs_are_rotated_each_day_until_undone(timer: str) -> None:
    """A timer that is masked, as in the images of labs, rotates nothing whatever the rule says."""
    host = Logs(timer)
    assert do(host, "log-rotation").result == "applied"
    assert host.timer == "enabled" and b"maxsize 100M" in host.files["/etc/logrotate.d/nestlab-xen"]
    assert do(host, "log-rotation").result == "unchanged"
    assert undo(host, "log-rotation").result == "undone"
    assert host.timer == timer and not {"/etc/logrotate.d/nestlab-xen", OFTEN} & set(host.files)


SYSLOG = {
    CONF: "$IncludeConfig /etc/rsyslog.d/*.conf\n*.*;auth.none\t-/var/log/syslog\nauth.*\t\t/var/log/auth.log\n"
    "# mail.*\t/var/log/mail\n*.emerg\t\t:omusrmsg:*\n",
    RULE: "/var/log/syslog\n/var/log/auth.log\n{\n\trotate 4\n\tweekly\n\tcompress\n\tdelaycompress\n}\n",
}


def test_rsyslogd_turns_its_logs_until_undone() -> None:
    host = Logs("enabled")
    before = {path: text.encode() for path, text in SYSLOG.items()}
    host.files |= before
    done = do(host, "log-rotation", size="64MiB", keep="9")
    assert done.result == "applied"
    conf, rule = host.files[CONF].decode(), host.files[RULE].decode()
    assert conf.splitlines()[1:] == [
        "*.*;auth.none\t:omfile:$nestlab_1", "auth.*\t\t:omfile:$nestlab_2", "# mail.*\t/var/log/mail",
        "*.emerg\t\t:omusrmsg:*",
    ]  # fmt: skip
    assert rule == (
        f"{CHECK_LOG}\n/var/log/syslog\n/var/log/auth.log\n{{\n\trotate 9\n\tdaily\n\tmaxsize 64M\n\tcompress\n"
        "\tdelaycompress\n}\n"
    )
    assert [(each.path, each.size) for each in host.channels] == [
        ("/var/log/syslog", 64 << 20), ("/var/log/auth.log", 64 << 20), (CHECK_LOG, 64 << 20),
    ]  # fmt: skip
    assert do(host, "log-rotation", size="64MiB", keep="9").result == "unchanged"
    assert do(host, "log-rotation").result == "applied" and {each.size for each in host.channels} == {100 << 20}
    assert undo(host, "log-rotation").result == "undone"
    assert {path: host.files[path] for path in before} == before and CHANNELS not in host.files
    assert host.channels == ()


def test_logs_of_rsyslogd_that_do_not_turn_are_seen() -> None:
    host = Logs("enabled")
    host.files |= {path: text.encode() for path, text in SYSLOG.items()}
    host.answers["systemctl restart rsyslog"] = ""  # goes on with what it had
    with pytest.raises(Unproven, match="lines that were logged meanwhile and lie in one of the files: expected all"):
        do(host, "log-rotation")


@pytest.mark.parametrize(("path", "text"), [
    (CONF, "*.* :omfile:$mine\n"), (RULE, "/var/log/syslog {\n\tsize 1M\n}\n"),
    (RULE, "/var/log/syslog {\n\tweekly\n\tcompress\n}\n"),
])  # fmt: skip
def test_logs_that_are_kept_in_another_way_are_left_alone(path: str, text: str) -> None:
    host = Logs("enabled")
    host.files |= {name: content.encode() for name, content in (SYSLOG | {path: text}).items()}
    with pytest.raises(Refused, match="syslog=false leaves them as they are"):
        do(host, "log-rotation")
    assert host.changes == []
    assert do(host, "log-rotation", syslog="false").result == "applied" and host.files[path].decode() == text


def test_the_check_of_xcp_ng_reads_its_own_words() -> None:
    """The file's format is that of the package xcp-ng-release; xensource.log's rule is the guide's."""
    host = Logs("enabled")
    host.dialect = "xe"
    channel = "$outchannel {0},/var/log/{0}.log,104857600,/etc/cron.daily/logrotate\n{1}\t:omfile:${0}\n"
    written = channel.format("kern", "kern.*") + channel.format("xensource", "local5.*")
    host.files["/etc/rsyslog.d/xenserver.conf"] = written.encode()
    own = "/var/log/xensource.log {\n    missingok\n    maxage 31\n    rotate 100\n}\n"
    host.answers["sh -c 'cat /etc/xensource"] = own
    names = ["own.log.1", "own.log.2.gz", "own.log.3.gz"]
    beside = "".join(f"{n}: {' '.join(names[:n])}\n" for n in (1, 2, 3)) + "lines: 288 of 288\n"
    host.answers[f"sh -c {shlex.quote(_BESIDE)}"] = beside
    assert do(host, "log-rotation").result == "unchanged"
    for changed, why in (
        (written.replace("104857600", "209715200", 1), "when rsyslogd turns a log by itself"),
        (written.replace("/etc/cron.daily/logrotate", "/bin/true"), "by what: expected"),
        (written.replace(":omfile:$kern", ":omfile:$kernel"), "both defined and written to: expected none, seen kern"),
        (channel.format("kern", "kern.*"), "xensource.log among them"),
    ):
        host.files["/etc/rsyslog.d/xenserver.conf"] = changed.encode()
        with pytest.raises(Unproven, match=why):
            do(host, "log-rotation")
    host.files["/etc/rsyslog.d/xenserver.conf"] = written.encode()
    host.answers["sh -c 'cat /etc/xensource"] = own.replace("100", "10")
    with pytest.raises(Unproven, match="own rule says rotate 100: expected True"):
        do(host, "log-rotation")


def test_a_rule_that_nobody_runs_is_disproven() -> None:
    with pytest.raises(Unproven, match="when it is run next: expected within the hour, or by cron, seen never"):
        do(Logs("masked", sticky=True), "log-rotation")
    with pytest.raises(Refused, match="no-logrotate"):
        do(FakeHost({}), "log-rotation")
