"""ssh to a node: keys made for one lab, the host key pinned before the first connection, the system's OpenSSH client.

Nothing of the user's own ssh configuration, agent or known_hosts takes part.
"""

from __future__ import annotations

import os
import re
import selectors
import shlex
import socket
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from builder.errors import Interrupted, LabError, TimedOut
from builder.model.lab import Value
from builder.model.runtime import SshTarget
from builder.paths import private_dir, write_atomic
from builder.run import die_with_parent, need, run

_MAX_CONTROL_PATH = 90
"""Bytes. The client binds the socket under a longer temporary name first, and the kernel allows 107."""


# Seconds, see wait_banner: between connections, after a refused one, that a connection is kept, and the oldest.
_EVERY, _REFUSED, _KEPT, _OLDEST_KEPT = 1.3, 0.2, 4.0, 30.0
_MOST = 4


class LabKeys(Value):
    """Key files of one node: the client's pair, the host's pair to be put into the node, the pinned known_hosts."""

    identity: Path
    identity_public: Path
    host_key: Path
    host_key_public: Path
    known_hosts: Path


def generate_keys(directory: Path, alias: str) -> LabKeys:
    """Make the keys of one node (ed25519), or return those that are there. `alias` is the name that the host key is
    pinned under: the domain's. Raises MissingTool, LabError."""
    private_dir(directory)
    keys = LabKeys(
        identity=directory / "id_ed25519",
        identity_public=directory / "id_ed25519.pub",
        host_key=directory / "host_ed25519",
        host_key_public=directory / "host_ed25519.pub",
        known_hosts=directory / "known_hosts",
    )
    keygen = need("ssh-keygen", why="make the lab's keys", package="openssh-client")
    for key, comment in ((keys.identity, "nestlab"), (keys.host_key, alias)):
        if not (key.exists() and key.with_suffix(".pub").exists()):
            key.unlink(missing_ok=True)  # torn by a crash: ssh-keygen would ask whether to overwrite
            run([keygen, "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", key])
    kind, public = keys.host_key_public.read_text().split()[:2]
    write_atomic(keys.known_hosts, f"{alias} {kind} {public}\n", mode=0o600)
    return keys


def _options(target: SshTarget) -> dict[str, str]:
    options = {
        "BatchMode": "yes",
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": target.known_hosts,
        "GlobalKnownHostsFile": "/dev/null",
        "UpdateHostKeys": "no",
        "CheckHostIP": "no",
        "IdentityFile": target.identity_file,
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
        "PreferredAuthentications": "publickey",
        "ForwardAgent": "no",
        "ForwardX11": "no",
        "ConnectTimeout": "60",  # it counts up to the server's banner, which an emulated sshd may take long to send
        "ServerAliveInterval": "15",
        "ServerAliveCountMax": "8",  # two minutes: an emulated node may be silent for one
        "LogLevel": "ERROR",
    }
    if target.host_key_alias:
        options["HostKeyAlias"] = target.host_key_alias
    if target.control_path:
        options["ControlPath"] = target.control_path
    return options


def ssh_argv(target: SshTarget, command: Sequence[str] = (), tty: bool = False) -> list[str]:
    """The client's argument list. `command` is run on the node word by word, as given, whatever its characters; empty
    is a login shell. A shared connection is used where one is open, and missed without harm where not."""
    argv = ["ssh", "-F", "none", "-p", str(target.port), "-tt" if tty else "-T"]
    for key, value in {**_options(target), "ControlMaster": "no"}.items():
        argv += ["-o", f"{key}={_quote(value)}"]
    argv += [f"{target.user}@{target.host}"]
    if command:
        argv += ["--", shlex.join(command)]
    return argv


def ssh_config(targets: Mapping[str, SshTarget]) -> str:
    """A configuration for `ssh -F` and testinfra's --ssh-config: one Host for each node."""
    blocks = []
    for name, target in targets.items():
        fields = {"HostName": target.host, "Port": str(target.port), "User": target.user, **_options(target)}
        blocks.append("\n".join([f"Host {name}", *(f"  {key} {_quote(value)}" for key, value in fields.items())]))
    return "\n".join(blocks) + "\n" if blocks else ""


def _quote(value: str) -> str:
    """ssh splits option values at blanks unless quoted, and expands % in paths."""
    value = value.replace("%", "%%") if value.startswith("/") else value
    return f'"{value}"' if any(c.isspace() for c in value) else value


def open_master(target: SshTarget, *, timeout: float = 180) -> subprocess.Popen[bytes]:
    """Open the shared connection at `target.control_path`, so that later commands need no key exchange (seconds
    under emulation). Returns when it is usable. A connection that gets lost before that is tried again until
    `timeout` seconds are over: on a busy host an emulated sshd can take longer than the client is ready to wait.

    The connection lives as long as the thread that called this: call it from one that stays. End it with
    `close_master`. Raises LabError with the client's words, TimedOut.
    """
    path = target.control_path
    if path is None or len(os.fsencode(path)) > _MAX_CONTROL_PATH:
        raise LabError(f"no usable control path: {path}", hint=f"at most {_MAX_CONTROL_PATH} bytes")
    need("ssh", why="reach the node", package="openssh-client")
    deadline = time.monotonic() + timeout
    while True:
        Path(path).unlink(missing_ok=True)
        process = _start_master(target)
        while not Path(path).exists() and process.poll() is None:
            if time.monotonic() > deadline:
                process.kill()
                process.communicate()
                raise TimedOut(f"a shared ssh connection to {target.host}:{target.port}", seconds=timeout)
            time.sleep(0.02)
        if process.poll() is None:
            return process
        said = process.communicate()[1].decode(errors="replace").strip()
        if (said and not _LOST.search(said)) or time.monotonic() > deadline:
            raise LabError(f"ssh to {target.host}:{target.port} failed: {said or 'no reason given'}")
        time.sleep(1)


_LOST = re.compile(r"timed out|[Cc]onnection (?:reset|closed)|kex_exchange_identification")
"""The client's words for a connection that another try may get. OpenSSH 10 has none for one that is closed at once."""


def _start_master(target: SshTarget) -> subprocess.Popen[bytes]:
    argv = ssh_argv(target)
    argv[argv.index("ControlMaster=no")] = "ControlMaster=yes"
    argv.insert(1, "-N")
    return subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=die_with_parent,  # noqa: PLW1509 - one prctl, safe between fork and exec
    )


def close_master(target: SshTarget) -> None:
    """End the shared connection, if there is one. Commands that run over it are cut off."""
    if target.control_path and Path(target.control_path).exists():
        run([*ssh_argv(target)[:-1], "-O", "exit", f"{target.user}@{target.host}"], timeout=10, check=False)
        Path(target.control_path).unlink(missing_ok=True)


def wait_banner(target: SshTarget, deadline: float, stop: threading.Event | None = None) -> str:
    """Wait until an ssh server speaks on the port; returns its banner. `deadline` is on time.monotonic().

    With user-mode networking a connection succeeds before the guest listens, so only the banner counts. A guest that
    does not answer is asked again by the emulator after 6 s, 12 s, ...: a new connection each 1.3 s hears it sooner.
    An emulated sshd may take seconds to speak, so each is kept for 4 s and the oldest for 30 s; at most four are
    open, far below the ten at which sshd begins to refuse. Raises TimedOut, or Interrupted when `stop` is set.
    """
    started = time.monotonic()
    tries: list[tuple[socket.socket, float]] = []
    next_try = 0.0
    with selectors.DefaultSelector() as selector:
        try:
            while True:
                now = time.monotonic()
                if stop is not None and stop.is_set():
                    raise Interrupted("waiting for ssh was interrupted")
                if now > deadline:
                    raise TimedOut(f"an ssh server on {target.host}:{target.port}", seconds=now - started)
                for number, (one, since) in enumerate(list(tries)):
                    if now - since > (_KEPT if number else _OLDEST_KEPT):
                        _drop(selector, tries, one)
                if now >= next_try and len(tries) < _MOST:
                    _begin(selector, tries, (target.host, target.port), now)
                    next_try = now + (_EVERY if tries else _REFUSED)
                for key, _ in selector.select(0.1):
                    banner = _listen(key.fileobj)
                    if banner:
                        return banner
                    if banner is None:
                        _drop(selector, tries, key.fileobj)
                        next_try = min(next_try, now + _REFUSED)
        finally:
            for one, _ in tries:
                one.close()


def _begin(
    selector: selectors.BaseSelector, tries: list[tuple[socket.socket, float]], address: tuple[str, int], now: float
) -> None:
    one = socket.socket()
    one.setblocking(False)
    if one.connect_ex(address) not in (0, 115):  # EINPROGRESS
        one.close()
        return
    selector.register(one, selectors.EVENT_READ)
    tries.append((one, now))


def _listen(one: object) -> str | None:
    """The banner, '' when it is not complete yet, None when the connection is over."""
    assert isinstance(one, socket.socket)
    try:
        data = one.recv(1024, socket.MSG_PEEK)
    except BlockingIOError:
        return ""
    except OSError:
        return None
    if not data.startswith(b"SSH-"[: len(data)]) or not data:
        return None
    line, end, _ = data.partition(b"\n")
    return line.decode(errors="replace").rstrip("\r") if end else ""


def _drop(selector: selectors.BaseSelector, tries: list[tuple[socket.socket, float]], one: object) -> None:
    assert isinstance(one, socket.socket)
    selector.unregister(one)
    one.close()
    tries[:] = [pair for pair in tries if pair[0] is not one]
