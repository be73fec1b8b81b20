"""Ports on 127.0.0.1, shared out among all labs of this host without a file that could go stale.

A claim is a bound abstract UNIX socket named after the port. The kernel lets one process hold it and frees it when
that process dies, so a killed keeper never leaves a port taken. Claims count per network namespace, as ports do.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterable
from types import TracebackType

from builder.errors import HostLacks

FIRST, LAST = 20000, 29999  # below Linux' ephemeral range (32768 up), above what services use


class PortTable:
    """The ports one process holds. Held until `release` or the end of the process."""

    def __init__(self, first: int = FIRST, last: int = LAST) -> None:
        self._range = range(first, last + 1)
        self._held: dict[int, socket.socket] = {}

    def claim(self, count: int) -> tuple[int, ...]:
        """Ports free for TCP and UDP, lowest first. Raises HostLacks when fewer than `count` are left; then none
        is taken."""
        got: list[int] = []
        for port in self._range:
            if len(got) == count:
                break
            if port not in self._held and self._take(port):
                got.append(port)
        if len(got) < count:
            self.release(got)
            raise HostLacks(
                f"{count} free ports are needed on 127.0.0.1, and {len(got)} are left of "
                f"{self._range.start}-{self._range.stop - 1}",
                hint="take down labs that are not needed: nestlab ls, nestlab down LAB",
            )
        return tuple(got)

    def claim_exactly(self, ports: Iterable[int]) -> bool:
        """Take these very ports (a saved lab's, say); all or none, and whether it was all."""
        got: list[int] = []
        for port in ports:
            if port not in self._held and not self._take(port):
                self.release(got)
                return False
            got.append(port)
        return True

    def release(self, ports: Iterable[int] | None = None) -> None:
        """Give back these ports, or all."""
        for port in list(self._held) if ports is None else list(ports):
            claim = self._held.pop(port, None)
            if claim is not None:
                claim.close()

    @property
    def held(self) -> tuple[int, ...]:
        return tuple(sorted(self._held))

    def __enter__(self) -> PortTable:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _take(self, port: int) -> bool:
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            claim.bind(f"\0nestlab-port-{port}")
        except OSError:
            claim.close()
            return False
        if not is_free(port):
            claim.close()
            return False
        self._held[port] = claim
        return True


def is_free(port: int) -> bool:
    """Whether nobody listens on this port of 127.0.0.1, TCP and UDP, right now."""
    with contextlib.ExitStack() as sockets:
        tcp = sockets.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        udp = sockets.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        # With SO_REUSEADDR a connection of an earlier lab in TIME_WAIT does not count, as it does not for QEMU;
        # then only listen() tells whether the port is taken.
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tcp.bind(("127.0.0.1", port))
            tcp.listen(1)
            udp.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
