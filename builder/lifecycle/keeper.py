"""The keeper: the one process of a running lab. It alone opens libvirt, carries the switch, holds the lock and the
expiry timer, and writes the lab's state.

Started by `up`, which hands it one end of a socket pair: while the lab is not ready, the closing of that socket (the
user pressed Ctrl-C, or `up` was killed) takes everything down again.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import shutil
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from builder.drivers.virt import become_subreaper
from builder.errors import Interrupted, LabError
from builder.events import Event, EventLog
from builder.lifecycle.far import is_elsewhere
from builder.lifecycle.nodes import Nodes
from builder.lifecycle.protocol import SOCKET, Channel, answer_error, never_block_on, notice_withdrawal, peer_is_us
from builder.lifecycle.request import Request
from builder.lifecycle.state import LabFolder, write_owner
from builder.lifecycle.sweep import sweep
from builder.paths import Places, private_dir

log = logging.getLogger("nestlab.keeper")


class Keeper:
    """`serve` returns when the lab is gone: nothing of it is left then."""

    def __init__(self, places: Places, lab_id: str) -> None:
        self._places = places
        self._lab_id = lab_id
        self._leaving = threading.Event()
        self._reason = ""
        self._up_lock = threading.Lock()
        self._stops: set[threading.Event] = set()
        self._ready = False
        self._deadline = 0.0
        self._gone: list[Callable[[], None]] = []
        self.folder = LabFolder(places, lab_id)
        self.events = EventLog(lab_id, self.folder.path / "events.jsonl")
        self.nodes = Nodes(places, lab_id, self.folder, self.events.emit)

    def serve(self, control: socket.socket) -> None:
        listener = self._listen()
        self._accept(control, control=True)
        try:
            while not self._leaving.is_set():
                with contextlib.suppress(TimeoutError):
                    self._accept(listener.accept()[0])
                if self._deadline and time.time() > self._deadline:
                    self.leave("its time was up")
        finally:
            listener.close()
            self._take_down()

    def leave(self, reason: str) -> None:
        """Ask the keeper to take the lab down and end. May be called from anywhere, also from a signal handler."""
        self._reason = self._reason or reason
        self._leaving.set()
        for stop in tuple(self._stops):
            stop.set()

    def _listen(self) -> socket.socket:
        path = self._places.run(self._lab_id) / SOCKET
        path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen(16)
        listener.settimeout(0.25)
        return listener

    def _accept(self, sock: socket.socket, *, control: bool = False) -> None:
        sock.settimeout(None)
        never_block_on(sock)
        threading.Thread(target=self._converse, args=(Channel(sock), control), name="client", daemon=True).start()

    def _converse(self, channel: Channel, control: bool) -> None:
        """One request, one answer. `control` is the connection of the `up` that started us."""
        try:
            if not peer_is_us(channel.sock):
                return
            request = channel.receive()
            if request is None:
                return
            result = self._operate(str(request.get("op")), request, channel)
            channel.send({"result": result})
        except OSError:
            log.info("a client went away before its answer")
        except BaseException as error:
            if not isinstance(error, LabError):
                log.error("%s", traceback.format_exc())
            with contextlib.suppress(OSError):
                channel.send(answer_error(error))
        finally:
            channel.close()
            if control and not self._ready:
                self.leave("the `up` that started it is over")

    def _operate(self, op: str, request: dict[str, Any], channel: Channel) -> Any:
        if op == "up":
            asked = Request.model_validate(request["request"])
            return self._in_turn(channel, lambda stop: self._bring_up(asked, stop))
        if op == "status":
            return self.nodes.status().model_dump(mode="json")
        if op == "power-on":
            return self._in_turn(channel, lambda stop: self._power_on(str(request["node"]), stop))
        if op == "down":
            gone = threading.Event()
            self._gone.append(gone.set)
            remove = self.events.listen(lambda event: _send_event(channel, event))
            self.leave("asked to")
            gone.wait(60)
            remove()
            return True
        return self.nodes.effects.faults.answer(op, request, channel, self._leaving)

    def _in_turn(self, channel: Channel, bring: Callable[[threading.Event], Any]) -> Any:
        """One start of nodes after the other; the client hears of it, and stops it by going away."""
        stop = threading.Event()
        self._stops.add(stop)
        if self._leaving.is_set():
            stop.set()
        remove = self.events.listen(lambda event: _send_event(channel, event))
        notice_withdrawal(channel, stop)
        try:
            with self._up_lock:
                return bring(stop)
        finally:
            remove()
            self._stops.discard(stop)

    def _bring_up(self, request: Request, stop: threading.Event) -> Any:
        first = not self._ready
        try:
            if stop.is_set():
                raise Interrupted("stopped before the lab was ready")
            self.nodes.converge(request.plan, request.options, stop)
        except BaseException as error:
            if first and request.options.keep_failed and not isinstance(error, Interrupted):
                self._ready = True
                self._deadline = self.nodes.start_timer(request.plan.lab.expires)
            else:
                if not isinstance(error, Interrupted):
                    _tell_where(error, self.nodes.keep_evidence())
                if first:
                    self.leave("it did not come up")
            raise
        self._ready = True
        self._deadline = self.nodes.start_timer(request.plan.lab.expires)
        return self.nodes.status().model_dump(mode="json")

    def _power_on(self, node: str, stop: threading.Event) -> Any:
        try:
            self.nodes.power_on(node, stop)
        except LabError as error:
            if not isinstance(error, Interrupted):
                _tell_where(error, self.nodes.keep_evidence())
            raise
        return self.nodes.status().model_dump(mode="json")

    def _take_down(self) -> None:
        log.info("taking the lab down: %s", self._reason)
        with self._up_lock:
            self.nodes.take_down()
        for gone in self._gone:
            gone()
        self.events.close()
        shutil.rmtree(self._places.run(self._lab_id), ignore_errors=True)
        if not is_elsewhere(self._places, self._lab_id):  # else `down` comes back to what could not be reached now
            shutil.rmtree(self.folder.path, ignore_errors=True)


def _tell_where(error: BaseException, kept: Path) -> None:
    if isinstance(error, LabError):
        where = f"consoles, screens and the timeline are in {kept}"
        error.hint = f"{error.hint}; {where}" if error.hint else where


def _send_event(channel: Channel, event: Event) -> None:
    """Best effort: that a client went away is noticed elsewhere."""
    with contextlib.suppress(OSError):
        channel.send({"event": json.loads(event.to_json())})


def main(argv: list[str] | None = None) -> int:
    """Entry of the keeper process; started by `up`, which hands down the control socket and the lab's held lock."""
    parser = argparse.ArgumentParser(prog="nestlab-keeper")
    for name in ("lab", "state", "cache", "runtime"):
        parser.add_argument(name)
    parser.add_argument("control_fd", type=int)
    parser.add_argument("lock_fd", type=int)
    args = parser.parse_args(argv)
    places = Places(Path(args.state), Path(args.cache), Path(args.runtime))
    os.set_inheritable(args.lock_fd, False)
    os.set_inheritable(args.control_fd, False)
    control = socket.socket(fileno=args.control_fd)
    lab_dir = private_dir(places.lab(args.lab))
    write_owner(args.lock_fd)
    _log_to(lab_dir / "keeper.log")
    run_dir = places.run(args.lab)
    if run_dir.exists():
        log.info("an earlier keeper of this lab was killed: ending what it left running")
        sweep(run_dir)
        shutil.rmtree(run_dir, ignore_errors=True)
    private_dir(run_dir)
    become_subreaper()
    keeper = Keeper(places, args.lab)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda received, _frame: keeper.leave(f"signal {received}"))
    keeper.serve(control)
    return 0


def _log_to(path: Path) -> None:
    logging.basicConfig(
        filename=path, level=logging.INFO, format="%(asctime)s %(threadName)s %(levelname)s %(message)s"
    )
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(fd, 1)
    os.dup2(fd, 2)
    os.close(fd)


if __name__ == "__main__":
    sys.exit(main())
