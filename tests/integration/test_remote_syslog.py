"""rsyslogd of both releases takes the procedure's line and sends what it logs; by IPv6 as well."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.procedures.remote_syslog import Asked, rule
from tests.support.debs import unpacked

pytestmark = pytest.mark.integration

LIBRARIES = ("libc6", "libestr0", "libfastjson4", "libsystemd0", "libuuid1", "zlib1g", "libgcc-s1", "libzstd1",
             "liblz4-1", "liblzma5", "libgcrypt20", "libgpg-error0", "libcap2", "libcap-ng0")  # fmt: skip


@pytest.fixture(params=["12", "13"])
def rsyslogd(request: pytest.FixtureRequest) -> list[str]:
    """The release's own, with the release's own C library."""
    tree = unpacked(request.param, ("rsyslog", *LIBRARIES))
    folders = [f"{tree}{folder}" for folder in ("/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64")]
    # The file itself: the name in /lib64 is a link from the root, to the loader of the machine that the test runs on.
    loader = next(path for path in tree.rglob("ld-linux-x86-64.so.2") if not path.is_symlink())
    modules = next(path.parent for path in tree.rglob("imuxsock.so"))
    program = next(path for path in tree.rglob("sbin/rsyslogd") if path.is_file())
    return [str(loader), "--library-path", ":".join(folders), str(program), "-n", "-iNONE", f"-M{modules}"]


@pytest.fixture(params=["127.0.0.1", "::1"])
def receiver(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in request.param else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as listening:
        listening.bind((request.param, 0))
        listening.settimeout(30)
        yield listening


def test_what_is_logged_reaches_the_other_machine(rsyslogd: list[str], receiver: socket.socket, tmp_path: Path) -> None:
    address, port = receiver.getsockname()[:2]
    config = tmp_path / "rsyslog.conf"
    config.write_text(
        f'module(load="imuxsock" SysSock.Use="off")\ninput(type="imuxsock" Socket="{tmp_path}/log")\n'
        + rule(Asked(server=address, port=port))
    )
    running = subprocess.Popen([*rsyslogd, "-f", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 30
        while not (tmp_path / "log").exists() and running.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        assert running.poll() is None, running.communicate()[1]
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
            log.sendto(b"<13>nestlab: a line", str(tmp_path / "log"))
        assert b"a line" in receiver.recv(2048)
    finally:
        running.kill()
        running.communicate()
