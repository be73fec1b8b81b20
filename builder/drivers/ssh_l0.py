"""ssh to the machine that runs a lab's guests: one connection for everything, with the user's own configuration.

It is the user's host: his keys, his known_hosts, his ~/.ssh/config. Nothing is asked for: there is no terminal. Ports
and sockets of that machine are forwarded over the same connection, and all ends with it.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qsl, unquote, urlsplit

from builder.errors import HostLacks, LabError, TimedOut, UsageError
from builder.run import end_group, need, outliving, run

SCHEME = "qemu+ssh"
_FORM = "qemu+ssh://[USER@]HOST[:PORT]/system, or /session; with ?keyfile=/PATH and ?nestlab-dir=/PATH"
_PARAMETERS = ("keyfile", "nestlab-dir", "no_tty")
_SECONDS = 90.0
_OPTIONS = {
    "BatchMode": "yes",
    "ControlPersist": "no",
    "ConnectTimeout": "20",
    "ServerAliveInterval": "10",
    "ServerAliveCountMax": "6",
    "ForwardAgent": "no",
    "ForwardX11": "no",
    "PermitLocalCommand": "no",
    "RemoteCommand": "none",
    "RequestTTY": "no",
    "ClearAllForwardings": "yes",  # of the user's configuration: they are for when he enters it himself
    "LogLevel": "ERROR",
}
_OVER = {"BatchMode": "yes", "ControlMaster": "no", "ProxyCommand": "false", "LogLevel": "ERROR"}
# (what the client says, what it means, what to do)
_CAUSES = (
    (r"IDENTIFICATION HAS CHANGED", "its host key is another than the one that is known",
     "make sure that it is the right machine, then: ssh-keygen -R {host}"),
    (r"Host key verification failed|host key is known", "its host key is not known",
     "enter it once by hand and compare the fingerprint: ssh {destination}"),
    (r"Permission denied", "it does not let us in without a password",
     "ssh-copy-id {destination}, or an agent, or --connect '...?keyfile=/PATH'"),
    (r"Could not resolve|Name or service not known", "its name is not known", "look at --connect"),
    (r"Connection refused|No route|timed out|unreachable", "it cannot be reached", "does it run, and sshd on it?"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class FarUri:
    """A libvirt URI of another machine. `folder` is where nestlab keeps its things there, None for its own choice."""

    text: str
    host: str
    user: str | None
    port: int | None
    kind: Literal["system", "session"]
    keyfile: str | None = None
    folder: str | None = None

    @classmethod
    def parse(cls, text: str) -> FarUri:
        """Raises UsageError for what is none, or has a part that would be ignored."""
        try:
            parts = urlsplit(text)
            port, host, user = parts.port, parts.hostname or "", unquote(parts.username or "") or None
            parameters = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
        except ValueError as error:
            raise UsageError(f"{text} is no address: {error}", hint=_FORM) from None
        kind = parts.path.strip("/")
        if parts.scheme != SCHEME or not host or kind not in ("system", "session") or parts.password or parts.fragment:
            raise UsageError(f"{text}: labs run on another machine by ssh alone", hint=_FORM)
        unknown = sorted(set(parameters) - set(_PARAMETERS))
        if unknown or host.startswith("-") or (user or "").startswith("-"):
            raise UsageError(f"{text}: what is {', '.join(unknown) or host}?", hint=_FORM)
        folder = parameters.get("nestlab-dir")
        if folder is not None and not re.fullmatch(r"/[\w./+-]+", folder):
            raise UsageError(f"{text}: nestlab-dir is an absolute path of plain characters", hint=_FORM)
        return cls(text, host, user, port, "system" if kind == "system" else "session",
                   parameters.get("keyfile"), folder)  # fmt: skip

    @property
    def destination(self) -> str:
        return f"{self.user}@{self.host}" if self.user else self.host


class Master:
    """The connection, from its making to `close`. `control` is its socket: a short path in a private folder.

    Raises HostLacks with the cause when the machine does not let us in, TimedOut.
    """

    def __init__(self, uri: FarUri, control: Path) -> None:
        self.uri = uri
        self._control = control
        self._said = b""
        need("ssh", why="reach the machine that runs the lab", package="openssh-client")
        control.unlink(missing_ok=True)
        argv = ["ssh", "-M", "-N", "-S", str(control), *_words(_OPTIONS)]
        argv += ["-p", str(uri.port)] if uri.port is not None else []
        argv += ["-i", uri.keyfile] if uri.keyfile is not None else []
        argv += ["--", uri.destination]
        self._process = outliving(argv, f"ssh {uri.destination}", self._hold)
        deadline = time.monotonic() + _SECONDS
        while not control.exists():
            if self._process.poll() is not None:
                raise self._refused()
            if time.monotonic() > deadline:
                end_group(self._process, grace=0.5)
                raise TimedOut(f"an ssh connection to {uri.destination}", seconds=_SECONDS)
            time.sleep(0.02)

    def shell(self, command: str) -> Sequence[str]:
        """The argument list that has `command` run by a POSIX shell there, whatever shell the user has."""
        return [*self._over(), "-T", "--", self.uri.destination, f"exec sh -c {shlex.quote(command)}"]

    def forward(self, here: int | Path, there: int | str) -> None:
        """Lead a port (of both 127.0.0.1) or a socket of ours to one of its. Raises LabError."""
        self._ask("forward", "-L", f"{_end(here)}:{_end(there)}")

    def unforward(self, here: int | Path, there: int | str) -> None:
        """The end of that; what is gone already is fine."""
        run(self._request("cancel", "-L", f"{_end(here)}:{_end(there)}"), timeout=20, check=False)

    def reverse(self, here: int) -> int:
        """A port of its 127.0.0.1 that leads to this one of ours. Raises LabError."""
        said = self._ask("forward", "-R", f"127.0.0.1:0:127.0.0.1:{here}").strip()
        if not said.isdigit():
            raise LabError(f"{self.uri.destination}: ssh does not say which port leads back: {said!r}")
        return int(said)

    @property
    def is_open(self) -> bool:
        return self._process.poll() is None

    def close(self) -> None:
        """Twice is fine."""
        end_group(self._process, grace=1)
        self._control.unlink(missing_ok=True)

    def _over(self) -> list[str]:
        """What uses the connection: without it that fails, rather than opening another."""
        return ["ssh", "-F", "none", "-S", str(self._control), *_words(_OVER)]

    def _request(self, what: str, *words: str) -> list[str]:
        return [*self._over(), "-O", what, *words, "--", self.uri.destination]

    def _ask(self, what: str, *words: str) -> str:
        done = run(self._request(what, *words), timeout=30, check=False)
        if not done.ok:
            raise LabError(
                f"{self.uri.destination}: ssh does not forward {words[-1]}: {done.stderr.strip()}",
                hint="its sshd_config needs AllowTcpForwarding yes and AllowStreamLocalForwarding yes",
            )
        return done.stdout

    def _hold(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None and process.stderr is not None
        process.stdin.close()
        self._said = process.stderr.read()

    def _refused(self) -> LabError:
        self._process.wait()
        deadline = time.monotonic() + 2
        while not self._said and time.monotonic() < deadline:
            time.sleep(0.02)
        said = " ".join(self._said.decode(errors="replace").split()).strip("@ ")
        for pattern, meaning, cure in _CAUSES:
            if re.search(pattern, said):
                names = {"host": self.uri.host, "destination": self.uri.destination}
                return HostLacks(f"{self.uri.destination}: {meaning}: {said[-300:]}", hint=cure.format(**names))
        return HostLacks(f"{self.uri.destination}: ssh failed: {said[-300:] or 'no reason given'}",
                         hint=f"try it by hand: ssh {self.uri.destination} true")  # fmt: skip


def _words(options: Mapping[str, str]) -> list[str]:
    return [word for key, value in options.items() for word in ("-o", f"{key}={value}")]


def _end(where: int | str | Path) -> str:
    return f"127.0.0.1:{where}" if isinstance(where, int) else str(where)
