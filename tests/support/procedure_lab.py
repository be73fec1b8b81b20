"""A lab that is up, and what the real command does to its hosts: for nightly tests of procedures."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from builder.lifecycle.world import LabWorld
from builder.model.host import Host
from builder.procedures.asking import domains
from tests.support.lab import Bench

# Everything that procedures may change on a host and that lasts; a lease that is renewed is nobody's change.
_CHANGED = (
    "find /etc /boot /root /var/lib/nestlab /usr/local ! -type d -newer /run/nestlab-mark "
    "! -name resolv.conf ! -name mtab ! -path '/var/lib/nestlab/drill/*' 2>/dev/null || :"
)


class Lab:
    """A lab that is up, and what is done to its hosts by the real command."""

    def __init__(self, here: Bench, file: Path) -> None:
        self.here, self.name = here, file.stem
        here.run("up", file, timeout=1500, check=True)
        self.world = LabWorld(self.name, here.places)

    def procedure(self, verb: str, node: str, *words: str) -> tuple[int, str]:
        """Its status, and what it says on one line."""
        done = self.here.run("procedure", verb, self.name, node, *words, timeout=1800)
        return done.returncode, " ".join((done.stdout + done.stderr).split())

    def does(self, verb: str, node: str, *words: str) -> str:
        """What it says; it ends well."""
        status, said = self.procedure(verb, node, *words)
        assert status == 0, said
        return said

    @contextlib.contextmanager
    def untouched(self, *nodes: str) -> Iterator[None]:
        """Afterwards no file is newer, and the same guests run."""
        hosts = [self.world.host(node) for node in nodes]
        before = {host.name: sorted(name for name, *_ in domains(host)) for host in hosts}
        for host in hosts:
            sh(host, "touch /run/nestlab-mark; sleep 1")
        yield
        for host in hosts:
            assert sh(host, _CHANGED) == "", host.name
            assert sorted(name for name, *_ in domains(host)) == before[host.name]

    def refused(self, node: str, *words: str, code: str, also: str = "") -> str:
        with self.untouched(node, *([also] if also else [])):
            status, said = self.procedure("run", node, *words)
        assert status == 1 and "nothing was changed" in said and f"[{code}]" in said, said
        return said


def sh(host: Host, script: str, *, timeout: float = 900) -> str:
    done = host.run(["sh", "-ec", script], timeout=timeout)
    assert done.ok, f"{script}: {done.stdout}{done.stderr}"
    return done.stdout
