"""A node's shared ssh connection: commands over it need no key exchange (seconds under emulation)."""

from __future__ import annotations

import contextlib
import logging
import subprocess
import threading

from builder.drivers.ssh import open_master
from builder.errors import LabError
from builder.model.runtime import SshTarget
from builder.run import end_group

log = logging.getLogger("nestlab.keeper")
_PAUSE = 1.0
"""Seconds between a connection that was lost or not had, and the next try."""


class Session(threading.Thread):
    """Holds a node's shared ssh connection open until it is ended. One that is lost before that, since the node
    restarts or somebody closed it, is opened again, and what the client said is in the keeper's log."""

    def __init__(self, target: SshTarget) -> None:
        super().__init__(name=f"session {target.host_key_alias}", daemon=True)
        self._target = target
        self._decided = threading.Event()
        self._error: BaseException | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._ending = threading.Event()

    def run(self) -> None:
        try:
            self._process = open_master(self._target)
        except BaseException as error:
            self._error = error
            return
        finally:
            self._decided.set()
        self._hold(self._process)
        while not self._ending.wait(_PAUSE):
            with contextlib.suppress(LabError):  # commands make their own connections meanwhile
                self._process = open_master(self._target)
                if self._ending.is_set():
                    self.end()
                self._hold(self._process)

    def _hold(self, process: subprocess.Popen[bytes]) -> None:
        _, said = process.communicate()
        if not self._ending.is_set():
            words = said.decode(errors="replace").strip() or "no reason given"
            log.warning("%s: the shared connection ended with status %s: %s", self.name, process.returncode, words)

    def usable(self) -> None:
        """Returns when commands can use the connection. Raises what kept it from opening."""
        self._decided.wait()
        if self._error is not None:
            raise self._error

    def end(self) -> None:
        """Close it; what runs over it is cut off."""
        self._ending.set()
        if self._process is not None:
            end_group(self._process, grace=0.5)
