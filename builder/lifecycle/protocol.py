"""How the front doors talk to a lab's keeper: JSON lines over a UNIX socket that only its owner can open.

A request is one line `{"v": 1, "op": ..., ...}`. Answers are lines `{"event": ...}` and `{"data": ...}` (bytes, in
base64), any number of them, and then one of `{"result": ...}` or `{"error": {"kind", "message", "hint",
"exit_code"}}`. Closing the connection before the answer withdraws the request.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import json
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from builder.errors import HostLacks, Interrupted, LabError
from builder.events import Event

VERSION = 1
SOCKET = "keeper.sock"
_MAX_LINE = 64 << 20


class KeeperGone(LabError):
    """The keeper's end of the connection closed before it answered."""


class RemoteError(LabError):
    """An error that happened in the keeper, with the exit status that belongs to it."""

    def __init__(self, message: str, *, hint: str | None, exit_code: int) -> None:
        super().__init__(message, hint=hint)
        self.exit_code = exit_code


class Channel:
    """One connection, either end. Lines are whole or an error; a line over 64 MiB is refused. `send` is thread-safe."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._buffer = bytearray()
        self._sending = threading.Lock()

    def send(self, message: dict[str, Any]) -> None:
        """Raises OSError when the other end is gone, or has not read for 10 seconds; the channel is dead then."""
        data = json.dumps(message, separators=(",", ":")).encode() + b"\n"
        with self._sending:
            try:
                self.sock.sendall(data)
            except OSError:
                with contextlib.suppress(OSError):
                    self.sock.shutdown(socket.SHUT_RDWR)
                raise

    def receive(self) -> dict[str, Any] | None:
        """The next message, or None when the other end closed. Raises LabError for what is no message."""
        while b"\n" not in self._buffer:
            try:
                data = self.sock.recv(1 << 16)
            except (ConnectionResetError, TimeoutError):
                return None
            if not data:
                return None
            self._buffer += data
            if len(self._buffer) > _MAX_LINE:
                raise LabError("a message to the keeper is too long")
        line, _, rest = self._buffer.partition(b"\n")
        self._buffer = bytearray(rest)
        try:
            message = json.loads(line)
        except ValueError:
            raise LabError("the keeper was sent something that is not JSON") from None
        if not isinstance(message, dict):
            raise LabError("the keeper was sent something that is not a request")
        return message

    def finish(self) -> None:
        """Withdraw the request and listen on: what was under way is still answered. Fine in a signal handler."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.sock.close()


def connect(run_dir: Path) -> Channel | None:
    """A channel to the keeper that listens in this runtime folder, or None when none does."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        sock.connect(str(run_dir / SOCKET))
    except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
        sock.close()
        return None
    return Channel(sock)


def ask(
    channel: Channel, op: str, *, listener: Callable[[Event], None] | None = None,
    receiver: Callable[[bytes], object] | None = None, **arguments: Any,
) -> Any:  # fmt: skip
    """Send a request and wait for its answer, handing on events and data meanwhile.

    Raises RemoteError with what the keeper says went wrong, KeeperGone when it went away instead of answering.
    """
    try:
        channel.send({"v": VERSION, "op": op, **arguments})
    except OSError:
        raise KeeperGone(f"the keeper went away while asked to {op}", hint="`nestlab down` cleans up") from None
    return answer(channel, op, listener=listener, receiver=receiver)


def answer(
    channel: Channel, op: str, *, listener: Callable[[Event], None] | None = None,
    receiver: Callable[[bytes], object] | None = None,
) -> Any:  # fmt: skip
    """The rest of an answer: see `ask`."""
    for message in _messages(channel):
        if "event" in message:
            if listener is not None:
                listener(Event.from_json(json.dumps(message["event"])))
        elif "data" in message:
            if receiver is not None:
                receiver(base64.b64decode(message["data"]))
        elif "error" in message:
            error = message["error"]
            raise RemoteError(error["message"], hint=error.get("hint"), exit_code=int(error.get("exit_code", 1)))
        else:
            return message.get("result")
    raise KeeperGone(
        f"the keeper went away while asked to {op}", hint="its last words are in keeper.log of the lab's folder"
    )


def answer_error(error: BaseException) -> dict[str, Any]:
    """The message that tells the other end of an error. What is not a LabError is a bug, and says so."""
    if isinstance(error, LabError):
        return {"error": {"kind": type(error).__name__, "message": error.message, "hint": error.hint,
                          "exit_code": error.exit_code}}  # fmt: skip
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return {"error": {"kind": HostLacks.__name__, "message": f"no room is left for the lab's files: {error}",
                          "hint": "nestlab doctor shows where", "exit_code": HostLacks.exit_code}}  # fmt: skip
    return {"error": {"kind": type(error).__name__, "message": f"the keeper failed: {error!r}",
                      "hint": "this is a bug: keeper.log in the lab's folder holds the traceback",
                      "exit_code": Interrupted.exit_code if isinstance(error, KeyboardInterrupt) else 1}}  # fmt: skip


def notice_withdrawal(channel: Channel, withdrawn: threading.Event) -> None:
    """Set the event when the client closes its end: it sends nothing after its request."""

    def watch() -> None:
        with contextlib.suppress(LabError, OSError):
            while channel.receive() is not None:
                pass
        withdrawn.set()

    threading.Thread(target=watch, name="watch client", daemon=True).start()


def never_block_on(sock: socket.socket) -> None:
    """A client that stops reading must not stop the lab: a send that cannot go on for 10 seconds fails."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", 10, 0))


def peer_is_us(sock: socket.socket) -> bool:
    """Whether the process at the other end runs as the same user (or root)."""
    credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    uid = int.from_bytes(credentials[4:8], "little")
    return uid in (os.geteuid(), 0)


def _messages(channel: Channel) -> Iterator[dict[str, Any]]:
    while (message := channel.receive()) is not None:
        yield message
