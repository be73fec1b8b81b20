"""rsyslogd of both releases has a log rotated the moment that it is too large; the releases' own files are changed."""

from __future__ import annotations

import gzip
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.model.units import MIB
from builder.procedures.log_trigger import (
    CHECK_LOG,
    CONF,
    RULE,
    Syslog,
    channels_in,
    turn_beside,
    turning,
    unused,
    without_channels,
)
from tests.integration.test_remote_syslog import LIBRARIES
from tests.support.debs import unpacked
from tests.support.local_host import LocalHost

pytestmark = pytest.mark.integration

SIZE = 100 * MIB
SETTINGS = "daily\nrotate 31\ncompress\ndelaycompress\n"


@pytest.fixture(params=["12", "13"])
def tree(request: pytest.FixtureRequest) -> Path:
    return unpacked(request.param, ("rsyslog", *LIBRARIES))


@pytest.fixture
def rsyslogd(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The release's own with its own C library, as the `rsyslogd` of this machine."""
    folders = [f"{tree}{folder}" for folder in ("/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64")]
    loader = next(path for path in tree.rglob("ld-linux-x86-64.so.2") if path.is_file())
    modules = next(path.parent for path in tree.rglob("imuxsock.so"))
    program = next(path for path in tree.rglob("sbin/rsyslogd") if path.is_file())
    folder = tmp_path / "programs"
    folder.mkdir()
    (folder / "rsyslogd").write_text(
        f'#!/bin/sh\nexec {loader} --library-path {":".join(folders)} {program} -M{modules} "$@"\n'
    )
    (folder / "rsyslogd").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/sbin:/usr/bin:/sbin:/bin")
    return folder / "rsyslogd"


@pytest.mark.usefixtures("rsyslogd")
def test_a_log_made_for_it_turns_when_it_is_full_and_not_before() -> None:
    """As on XCP-ng, whose settings are not touched. The check ends whatever it began."""
    evidence = turn_beside(LocalHost(), 4 * MIB, f"{SETTINGS}maxsize 4M\n")
    assert [(each.what, each.seen) for each in evidence if not each.ok] == []
    assert [each.seen for each in evidence[:3]] == [
        "own.log.1", "own.log.1 own.log.2.gz", "own.log.1 own.log.2.gz own.log.3.gz",
    ]  # fmt: skip
    assert subprocess.run(["pgrep", "-f", "/own.log"], capture_output=True, check=False).returncode == 1


@pytest.mark.usefixtures("rsyslogd")
@pytest.mark.parametrize(("settings", "seconds", "wrong"), [
    (f"{SETTINGS}maxsize 8M\n", 2, ["for the 1. time", "for the 2. time", "for the 3. time"]),
    ("daily\nrotate 31\nmaxsize 4M\n", 8, ["for the 2. time", "for the 3. time"]),
])  # fmt: skip
def test_settings_that_do_not_turn_it_or_do_not_compress_are_seen(
    settings: str, seconds: int, wrong: list[str]
) -> None:
    evidence = turn_beside(LocalHost(), 4 * MIB, settings, seconds=seconds)
    assert [each.what.partition(", ")[2] for each in evidence if not each.ok][: len(wrong)] == wrong


def own_files(tree: Path) -> Syslog:
    """The package's own texts, as they are on a host."""
    return Syslog(conf=(tree / CONF[1:]).read_text(), channels="", rule=(tree / RULE[1:]).read_text())


@pytest.fixture
def logging(tree: Path, rsyslogd: Path, tmp_path: Path) -> Iterator[Path]:
    """rsyslogd with the release's own rules through the procedure's channels, in a folder instead of /var/log."""
    now = turning(own_files(tree), SIZE, 31)
    logs = tmp_path / "log"
    logs.mkdir()
    rotate = tmp_path / "rotate"
    rule = re.sub(r"/usr/lib/rsyslog/rsyslog-rotate", f"kill -HUP $(cat {tmp_path}/pid)", now.rule)
    (tmp_path / "rule").write_text(rule.replace("/var/log", str(logs)))
    rotate.write_text(f"#!/bin/sh\nexec logrotate -s {tmp_path}/state {tmp_path}/rule\n")
    rotate.chmod(0o755)
    channels = now.channels.replace(f"/usr/sbin/logrotate {RULE}", str(rotate)).replace("/var/log", str(logs))
    rules = now.conf[now.conf.index("*.*;") :]
    inputs = 'main_queue(queue.size="500" queue.dequeueBatchSize="64" queue.timeoutEnqueue="60000")\n'
    inputs += f'module(load="imuxsock" SysSock.Use="off")\ninput(type="imuxsock" Socket="{tmp_path}/socket")\n'
    (tmp_path / "conf").write_text(inputs + channels + rules)
    running = subprocess.Popen(
        [rsyslogd, "-n", "-i", tmp_path / "pid", "-f", tmp_path / "conf"], stderr=subprocess.PIPE
    )
    try:
        deadline = time.monotonic() + 30
        while not ((tmp_path / "socket").exists() and (tmp_path / "pid").exists()) and time.monotonic() < deadline:
            assert running.poll() is None, running.communicate()[1]
            time.sleep(0.05)
        yield tmp_path
    finally:
        running.send_signal(signal.SIGKILL)
        running.communicate()


def fill(folder: Path, until: Path) -> int:
    """Log lines of 8,000 bytes until a file is there. How many."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.connect(str(folder / "socket"))
        for number in range(1, 20000):
            log.send(f"<30>filler: line {number} {'x' * 7960}".encode())
            if number % 50 == 0 and until.exists():
                return number
    raise AssertionError(f"{number * 8000} bytes were logged, and {until.name} is not there")


def test_a_hundred_mebibytes_are_logged_and_the_log_turns(logging: Path) -> None:
    """With the very files of the package, every byte written by rsyslogd. The next time the first one is compressed."""
    logs = logging / "log"
    sent = fill(logging, logs / "syslog.1")
    assert SIZE <= (logs / "syslog.1").stat().st_size < SIZE + 64 * 1024
    sent += fill(logging, logs / "syslog.2.gz")
    assert sent * 8000 > 1.9 * SIZE
    deadline = time.monotonic() + 30
    lines = 0
    while lines < sent and time.monotonic() < deadline:
        time.sleep(0.5)
        whole = [gzip.decompress(path.read_bytes()) for path in logs.glob("syslog*.gz")]
        whole += [path.read_bytes() for path in (logs / "syslog.1", logs / "syslog") if path.exists()]
        lines = b"".join(whole).count(b" filler: line ")
    assert lines == sent
    assert [path.name for path in logs.iterdir() if not path.name.startswith("syslog")] == []


def test_what_is_logged_for_a_check_is_in_no_other_log(logging: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.connect(str(logging / "socket"))
        log.send(b"<30>nestlab-rotation: line 1")
        log.send(b"<30>other: line 2")
    syslog = logging / "log" / "syslog"
    deadline = time.monotonic() + 30
    while not (syslog.exists() and b"line 2" in syslog.read_bytes()) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert b"line 1" not in syslog.read_bytes()
    assert b"line 1" in (logging / "log" / CHECK_LOG.rpartition("/")[2]).read_bytes()


def test_the_releases_own_files_are_changed_and_changed_back(tree: Path, rsyslogd: Path, tmp_path: Path) -> None:
    """rsyslogd and logrotate take what comes of it."""
    before = own_files(tree)
    wanted = turning(before, SIZE, 31)
    assert turning(wanted, SIZE, 31) == wanted
    assert turning(turning(before, 2 * SIZE, 7), SIZE, 31) == wanted
    assert unused(wanted.channels + wanted.conf) == ()
    assert {"/var/log/syslog", "/var/log/auth.log", "/var/log/kern.log"} <= {
        channel.path for channel in channels_in(wanted.channels)
    }
    back = without_channels(wanted.conf, wanted.channels)
    assert back.replace("\t/", "\t-/") == before.conf.replace("\t/", "\t-/")
    (tmp_path / "channels").write_text(wanted.channels)
    conf = wanted.conf.replace("/var/spool/rsyslog", str(tmp_path))
    (tmp_path / "conf").write_text(conf.replace("/etc/rsyslog.d/*.conf", str(tmp_path / "channels")))
    checked = subprocess.run([rsyslogd, "-N1", "-f", tmp_path / "conf"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    undefined = tmp_path / "undefined"
    undefined.write_text(conf)  # without the channels
    checked = subprocess.run([rsyslogd, "-N1", "-f", undefined], capture_output=True, text=True, check=False)
    assert "error" in checked.stderr
    (tmp_path / "rule").write_text(wanted.rule)
    logrotate = shutil.which("logrotate")
    assert logrotate
    judged = subprocess.run([logrotate, "-d", tmp_path / "rule"], capture_output=True, text=True, check=True)
    assert "error" not in judged.stderr
    assert re.search(r"after 1 days \(31 rotations\)", judged.stderr)
    assert "log files >= 104857600 are rotated earlier" in judged.stderr
