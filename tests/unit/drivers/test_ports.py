"""Port claims: exclusive between processes, freed by death, all or none."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from builder.drivers.ports import PortTable, is_free
from builder.errors import HostLacks

FIRST = 29000  # a range of the tests' own, so that running labs do not disturb them

HOLDER = """
import sys, time
from builder.drivers.ports import PortTable
table = PortTable(int(sys.argv[1]), int(sys.argv[1]) + 9)
print(*table.claim(int(sys.argv[2])), flush=True)
time.sleep(60)
"""


def holder(count: int) -> tuple[subprocess.Popen[str], tuple[int, ...]]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(FIRST), str(count)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, tuple(map(int, process.stdout.readline().split()))


def test_two_processes_never_get_the_same_port_and_death_frees_it() -> None:
    process, theirs = holder(6)
    try:
        assert theirs == tuple(range(FIRST, FIRST + 6))
        with PortTable(FIRST, FIRST + 9) as table:
            assert table.claim(4) == tuple(range(FIRST + 6, FIRST + 10))
            with pytest.raises(HostLacks):
                table.claim(1)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    with PortTable(FIRST, FIRST + 9) as table:
        assert table.claim(6) == theirs


def test_a_claim_that_cannot_be_met_takes_nothing() -> None:
    with PortTable(FIRST, FIRST + 9) as table:
        with pytest.raises(HostLacks, match="11 free ports") as caught:
            table.claim(11)
        assert caught.value.exit_code == 3
        assert table.held == ()
        assert len(table.claim(10)) == 10


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_a_port_used_by_a_stranger_is_passed_over(kind: socket.SocketKind) -> None:
    with socket.socket(socket.AF_INET, kind) as stranger:
        stranger.bind(("127.0.0.1", FIRST))
        if kind == socket.SOCK_STREAM:
            stranger.listen(1)
        with PortTable(FIRST, FIRST + 9) as table:
            assert table.claim(1) == (FIRST + 1,)


def test_a_listener_on_all_addresses_counts() -> None:
    with socket.socket() as stranger:
        stranger.bind(("0.0.0.0", FIRST))
        stranger.listen(1)
        assert not is_free(FIRST)
    assert is_free(FIRST)


def test_a_port_in_time_wait_is_free() -> None:
    """The forwarded ssh port of a lab that went down a second ago has connections in TIME_WAIT."""
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("127.0.0.1", FIRST))
        server.listen(1)
        with socket.create_connection(("127.0.0.1", FIRST)) as client:
            peer, _ = server.accept()
            peer.close()  # the side that closes first keeps TIME_WAIT
            assert client.recv(1) == b""
    time.sleep(0.05)
    assert is_free(FIRST)


def test_exact_ports_are_all_or_none() -> None:
    with PortTable(FIRST, FIRST + 9) as one, PortTable(FIRST, FIRST + 9) as other:
        assert one.claim_exactly((FIRST + 2,))
        assert not other.claim_exactly((FIRST + 1, FIRST + 2))
        assert other.held == ()
        one.release()
        assert other.claim_exactly((FIRST + 1, FIRST + 2))
