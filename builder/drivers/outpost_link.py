"""This side of the outpost: sends it to another machine, asks it, and is its switch and its ports for the lab."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import itertools
import json
import shlex
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NoAnswer
from pathlib import Path
from typing import Any

from builder.drivers.switch import PortState
from builder.errors import HostLacks, Interrupted, LabError, TimedOut, UsageError
from builder.run import die_with_parent, end_group, outliving

MODULES = (
    "builder", "builder.errors", "builder.drivers", "builder.drivers.frames", "builder.drivers.switch",
    "builder.drivers.ports", "builder.drivers.outpost_files", "builder.drivers.outpost",
)  # fmt: skip
"""What is sent, in the order in which they need each other. They use nothing else but the standard library."""
_PYTHONS = "python3 python3.13 python3.12 python3.11"
_START = "import sys; exec(sys.stdin.buffer.read(int(sys.stdin.buffer.readline())))"
_LOADER = """
import sys, types
for name, source in SOURCES:
    sys.modules[name] = module = types.ModuleType(name)
    module.__path__ = []
    exec(compile(source, name, "exec"), module.__dict__)
sys.modules["builder.drivers.outpost"].main(ROOT)
"""
NO_PYTHON = "nestlab: no python3"
COMMAND = (
    f'for p in {_PYTHONS}; do "$p" -c "import sys; sys.exit(sys.version_info < (3, 11))" 2>/dev/null '
    f"&& exec \"$p\" -I -c '{_START}'; done; echo '{NO_PYTHON}' >&2; exit 127"
)
"""For a POSIX shell. Nothing of it depends on the lab, and nothing secret is in it."""
_EVERY = 10.0
_PATIENCE = 120.0
_STEP = 1 << 20
_KINDS: Mapping[str, type[LabError]] = {"HostLacks": HostLacks, "UsageError": UsageError}
Shell = Callable[[str], Sequence[str]]
"""The argument list that has a command run by the other machine's POSIX shell."""


class Outpost:
    """Open from its making to `close`. All methods may be called from any thread. `host` is for messages.

    Raises HostLacks when the other machine has no Python that is new enough, LabError with its words for the rest.
    """

    def __init__(self, host: str, shell: Shell, *, root: str | None = None) -> None:
        self.host = host
        self._shell = shell
        self._numbers = itertools.count(1)
        self._waiting: dict[int, Future[Any]] = {}
        self._guard = threading.Lock()
        self._over = threading.Event()
        self._ready: Future[Any] = Future()
        self._waiting[0] = self._ready
        self._process = outliving(shell(COMMAND), f"outpost {host}", self._listen)
        try:
            self._send(payload(root))
            self._ready.result(_PATIENCE)
        except (LabError, NoAnswer, OSError):
            end_group(self._process, grace=0.2)
            raise self._refused() from None
        threading.Thread(target=self._stay, name=f"stay with {host}", daemon=True).start()

    def ask(self, op: str, *, patience: float = _PATIENCE, **arguments: Any) -> Any:
        """The result of a request. Raises what the other machine found wrong, LabError when it cannot be reached any
        more, TimedOut."""
        number = next(self._numbers)
        answer: Future[Any] = Future()
        with self._guard:
            if self._over.is_set():
                raise self._lost()
            self._waiting[number] = answer
        try:
            self._send(json.dumps({"id": number, "op": op, **arguments}).encode() + b"\n")
            return answer.result(patience)
        except NoAnswer:
            raise TimedOut(f"the answer of {self.host} to '{op}'", seconds=patience) from None
        except OSError:
            raise self._lost() from None
        finally:
            self._waiting.pop(number, None)

    def put(
        self, file: Path, sha256: str, *, name: str | None = None, token: str = "", stop: threading.Event | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> str:  # fmt: skip
        """See that the other machine has a file, one of the store's or (`name`) the lab's own; its path there.

        Raises HostLacks when it has no room, LabError when the bytes are not those of the digest, Interrupted.
        """
        size = file.stat().st_size
        while (place := self.ask("begin", sha256=sha256, size=size, name=name)).get("busy"):
            if (stop or self._over).wait(0.5):
                raise Interrupted(f"waiting for {file.name} on {self.host} was interrupted")
        if place["partial"] is None:
            return str(place["path"])
        try:
            self._send_file(file, sha256, place["partial"], stop, progress)
        except BaseException:
            if not self._over.is_set():
                self.ask("forget", sha256=sha256, name=name)
            raise
        return str(self.ask("adopt", sha256=sha256, name=name, token=token, patience=60 + size / _STEP))

    def close(self) -> None:
        """What it holds there ends with it; twice is fine."""
        self._over.set()
        if self._process.poll() is None:
            assert self._process.stdin is not None
            try:
                self._process.stdin.close()
                self._process.wait(2)
            except (OSError, subprocess.TimeoutExpired):
                end_group(self._process, grace=0.5)

    @property
    def is_open(self) -> bool:
        return not self._over.is_set()

    def _send_file(
        self, file: Path, sha256: str, partial: str, stop: threading.Event | None,
        progress: Callable[[int, int], None] | None,
    ) -> None:  # fmt: skip
        size, done, sum_ = file.stat().st_size, 0, hashlib.sha256()
        process = subprocess.Popen(
            self._shell(f"umask 077; exec cat > {shlex.quote(partial)}"), stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True,
            preexec_fn=die_with_parent,  # noqa: PLW1509 - as above
        )  # fmt: skip
        assert process.stdin is not None
        assert process.stderr is not None
        try:
            with file.open("rb") as source:
                while data := source.read(_STEP):
                    if stop is not None and stop.is_set():
                        raise Interrupted(f"sending {file.name} to {self.host} was interrupted")
                    process.stdin.write(data)
                    sum_.update(data)
                    done += len(data)
                    if progress is not None:
                        progress(done, size)
            process.stdin.close()
            status = process.wait(_PATIENCE)
        except BrokenPipeError:
            status = process.wait(_PATIENCE)
        finally:
            end_group(process, grace=0.2)
        if status != 0:
            raise self._not_taken(file, process.stderr.read().decode(errors="replace").strip())
        if sum_.hexdigest() != sha256:
            raise LabError(f"{file} was changed just now: it is not what it was when its digest was taken",
                           hint="try again")  # fmt: skip

    def _not_taken(self, file: Path, said: str) -> LabError:
        message = f"{self.host} does not take {file.name}: {said or 'no reason given'}"
        if "No space left" in said or "quota" in said:
            return HostLacks(message, hint="nestlab image prune --connect URI, or take labs down there")
        return LabError(message)

    def _send(self, data: bytes) -> None:
        assert self._process.stdin is not None
        with self._guard:
            self._process.stdin.write(data)
            self._process.stdin.flush()

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            try:
                message = json.loads(line)
            except ValueError:
                continue  # what a shell's start-up files print comes before our first word
            if not isinstance(message, dict):
                continue
            answer = self._waiting.get(0 if "outpost" in message else message.get("id", -1))
            if answer is not None and not answer.done():
                if "error" in message:
                    answer.set_exception(self._told(message["error"]))
                else:
                    answer.set_result(message.get("result"))
        with self._guard:
            self._over.set()
            waiting = list(self._waiting.values())
        for answer in waiting:
            if not answer.done():
                answer.set_exception(self._lost())

    def _stay(self) -> None:
        """It takes silence for our death."""
        while not self._over.wait(_EVERY):
            try:
                self.ask("ping")
            except LabError:
                return

    def _told(self, error: Mapping[str, Any]) -> LabError:
        kind = _KINDS.get(error["kind"], LabError)
        return kind(f"{self.host}: {error['message']}", hint=error.get("hint"))

    def _lost(self) -> LabError:
        return LabError(
            f"the connection to {self.host} is lost",
            hint="guests go on running there; `nestlab down LAB` removes them once it can be reached",
        )

    def _refused(self) -> LabError:
        assert self._process.stderr is not None
        said = self._process.stderr.read().decode(errors="replace").strip()
        if NO_PYTHON in said:
            return HostLacks(f"{self.host} has no python3 of version 3.11 or newer",
                             hint="there: apt-get install python3")  # fmt: skip
        return HostLacks(f"{self.host} does not run nestlab's outpost: {said or 'no reason given'}",
                         hint="does the user have a shell there?")  # fmt: skip


class FarSwitch:
    """The lab's switch in the outpost: see drivers.switch.Switch."""

    def __init__(self, outpost: Outpost) -> None:
        self._outpost = outpost

    def networks(self, mtus: Mapping[str, int]) -> None:
        self._outpost.ask("networks", mtus=dict(mtus))

    def add(self, port: int, *, qemu: int, network: str, vlan: int | None = None, trunk: Sequence[int] = ()) -> None:
        self._outpost.ask("plug", port=port, qemu=qemu, network=network, vlan=vlan, trunk=list(trunk))

    def remove(self, port: int) -> None:
        self._outpost.ask("unplug", port=port)

    def cut(self, port: int, cut: bool = True) -> None:
        self._outpost.ask("cut", port=port, cut=cut)

    def impair(self, port: int, *, delay_ms: float = 0, loss: float = 0) -> None:
        self._outpost.ask("impair", port=port, delay_ms=delay_ms, loss=loss)

    def states(self) -> dict[int, PortState]:
        rows = self._outpost.ask("states")
        return {row["port"]: PortState(row["cut"], row["delay"], row["loss"], row["counters"]) for row in rows}

    def capture(self, network: str, *, limit: int = 64 << 20) -> FarCapture:
        return FarCapture(self._outpost, self._outpost.ask("capture", network=network, limit=limit))

    def end_capture(self, _network: str, capture: FarCapture) -> bytes:
        return capture.take(end=True)


class FarCapture:
    """A recording there: see drivers.frames.Capture."""

    def __init__(self, outpost: Outpost, number: int) -> None:
        self._outpost = outpost
        self._number = number
        self.frames = 0
        self.missed = 0

    def take(self, *, end: bool = False) -> bytes:
        taken = self._outpost.ask("taken", number=self._number, end=end)
        self.frames, self.missed = taken["frames"], taken["missed"]
        return base64.b64decode(taken["data"])


def payload(root: str | None) -> bytes:
    """What the command reads first: the length of a program, and the program."""
    sources = []
    for name in MODULES:
        found = importlib.util.find_spec(name)
        assert found is not None and found.origin is not None
        sources.append((name, Path(found.origin).read_text()))
    program = f"SOURCES = {sources!r}\nROOT = {root!r}\n{_LOADER}".encode()
    return b"%d\n" % len(program) + program
