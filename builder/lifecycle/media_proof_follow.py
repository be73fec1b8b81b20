"""One boot of a medium, followed on the console and in the guest's memory until it has shown what it shall."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator

from builder.drivers.console import POLL, ConsoleFollower
from builder.errors import Interrupted, LabError, NodeFailed, TimedOut
from builder.events import Emit
from builder.lifecycle.media_proof_machine import Machine
from builder.lifecycle.media_proof_memory import GuestMemory, Pages, command_lines, look
from builder.lifecycle.media_proof_model import Expected, Seen, Where
from builder.model.plan import Cause

KERNEL_SECONDS = ANSWER_SECONDS = 60.0
"""Under emulation on an idle host, for media of usual size; scaled like the phases of labs."""
_FIRST_LOOK, _LOOK_EVERY, _SHARE = 1.0, 2.0, 4
"""Seconds; and how many times longer than a look the pause after it is: looking takes time from the guest."""
_TAIL = 15
_PROGRESS_EVERY = 1.0
CAUSES = (
    Cause(pattern=r"Kernel panic - not syncing", name="kernel-panic", message="the kernel panicked",
          cure="read its last words: often an initrd that the loader cut short, or too little --memory"),
    Cause(pattern=r"\(XEN\) Panic on CPU", name="xen-panic", message="the hypervisor panicked",
          cure="read its last words: often too little --memory"),
    Cause(pattern=r"No bootable device|No bootable option or device was found|UEFI Interactive Shell",
          name="not-bootable", message="the firmware found nothing to boot on the medium",
          cure="nestlab media inspect shows its boot entries and partitions"),
    Cause(pattern=r"Boot failed: ", name="not-bootable", message="the firmware could not start the boot loader",
          cure="nestlab media inspect shows its boot entries and partitions"),
    Cause(pattern=r"isolinux\.bin missing or corrupt|Failed to load ldlinux\.c32|No DEFAULT or UI configuration",
          name="loader-broken", message="isolinux cannot start", cure="compare the medium with its source"),
    Cause(pattern=r"\.\.\. failed: No such file|Could not find kernel image|Invalid or corrupt kernel image",
          name="no-kernel", message="isolinux finds no kernel", cure="nestlab media inspect shows what its menus name"),
)  # fmt: skip


class Watch:
    """What has been seen of one boot so far. Times are seconds since power-on."""

    def __init__(self, expected: Expected) -> None:
        self.expected = expected
        self.began = time.monotonic()
        self.last: deque[str] = deque(maxlen=_TAIL)
        self.kernel_line, self.hypervisor_line = "", ""
        self.kernel_where: Where | None = None
        self.kernel = {argument: Seen(what=argument) for argument in expected.kernel}
        self.hypervisor = {argument: Seen(what=argument) for argument in expected.hypervisor}
        self.answers = {answer.path: Seen(what=answer.path) for answer in expected.answers}
        self.texts = {text: Seen(what=text) for text in expected.texts}
        self._patterns = {text: re.compile(text) for text in expected.texts}
        self._pages = {answer.path: Pages(answer.content) for answer in expected.answers}
        self._required = {answer.path for answer in expected.answers if answer.required}
        self._lines: Counter[str] = Counter()
        self._rank = (-1, 0)
        # A medium that boots no Linux is proven by texts alone.
        self._any_kernel = bool(expected.kernel or expected.answers or not expected.texts)

    def line(self, text: str) -> Cause | None:
        """Take a line of the console; the cause when it says that this boot is lost."""
        self.last.append(text)
        for of_hypervisor, said in command_lines(text.encode("ascii", "replace")):
            self._command_line(said, "console", of_hypervisor=of_hypervisor)
        self.shown(text, "console")
        return next((cause for cause in CAUSES if re.search(cause.pattern, text)), None)

    def shown(self, text: str, where: Where) -> None:
        """Take a line that need not be whole: a prompt, or one of the screen."""
        for name, pattern in self._patterns.items():
            if pattern.search(text):
                self._mark(self.texts, name, where)

    def memory(self, memory: GuestMemory) -> Cause | None:
        """Look through the guest's memory once; the cause when it says that this boot is lost."""
        waiting = {path: pages for path, pages in self._pages.items() if self.answers[path].where is None}
        found = look(memory, list(waiting.values()), lines=bool(self.kernel_missing()))
        for of_hypervisor, said in found.lines:
            self._command_line(said, "memory", of_hypervisor=of_hypervisor)
        for path, pages in waiting.items():
            if not pages.missing:
                self._mark(self.answers, path, "memory")
        self.last.extend(found.panics[:1])
        return CAUSES[0] if found.panics else None

    def kernel_missing(self) -> list[str]:
        """What of the command lines is still awaited, in words."""
        out = [f"'{seen.what}' on the kernel's command line" for seen in self.kernel.values() if seen.where is None]
        out += [f"'{s.what}' on the hypervisor's command line" for s in self.hypervisor.values() if s.where is None]
        if self._any_kernel and not self.kernel_line and not out:
            out = ["a kernel that shows its command line"]
        return out

    def answers_missing(self) -> list[str]:
        """What else is still awaited, in words."""
        out = [f"{path} in the booted system" for path in sorted(self._required) if self.answers[path].where is None]
        return out + [f"/{seen.what}/ on console or screen" for seen in self.texts.values() if seen.where is None]

    def wants_screen(self) -> bool:
        """Whether a text is left that the screen could show."""
        return any(seen.where is None for seen in self.texts.values())

    def wants_memory(self) -> bool:
        """Whether something is left that the guest's memory could show."""
        return bool(self.kernel_missing()) or any(seen.where is None for seen in self.answers.values())

    def elapsed(self) -> float:
        return round(time.monotonic() - self.began, 1)

    def _command_line(self, said: str, where: Where, *, of_hypervisor: bool) -> None:
        awaited = self.hypervisor if of_hypervisor else self.kernel
        hits = [argument for argument in awaited if has_argument(said, argument)]
        for argument in hits:
            self._mark(awaited, argument, where)
        if of_hypervisor:
            self.hypervisor_line = self.hypervisor_line or said
            return
        # Memory holds torn copies, too: of those that show most, the one that is there most often is whole.
        self._lines[said] += 1
        rank = (len(hits), self._lines[said])
        if rank > self._rank:
            self._rank, self.kernel_line = rank, said
            self.kernel_where = self.kernel_where or where

    def _mark(self, awaited: dict[str, Seen], name: str, where: Where) -> None:
        if awaited[name].where is None:
            awaited[name] = Seen(what=name, where=where, seconds=self.elapsed())


def has_argument(line: str, argument: str) -> bool:
    """Whether a command line holds an argument as a whole. Loaders differ in whether they leave quotes there."""
    bare = str.maketrans("", "", "\"'\\")
    return f" {argument.translate(bare)} " in f" {line.translate(bare)} "


def follow(machine: Machine, watch: Watch, emit: Emit, *, scale: float, stop: threading.Event) -> None:
    """Returns when all that is awaited was seen.

    Raises NodeFailed with a named cause, TimedOut with what was awaited and the last console lines, Interrupted.
    """
    reader = ConsoleFollower(machine.setup.console)
    try:
        for phase, missing, seconds in (
            ("kernel", watch.kernel_missing, KERNEL_SECONDS * scale),
            ("answer", watch.answers_missing, ANSWER_SECONDS * scale),
        ):
            if missing():
                _Phase(machine, watch, reader, stop).until(phase, missing, seconds, emit)
    finally:
        reader.close()


class _Phase:
    def __init__(self, machine: Machine, watch: Watch, reader: ConsoleFollower, stop: threading.Event) -> None:
        self.machine, self.watch, self.reader, self.stop = machine, watch, reader, stop
        self.name = machine.setup.way.name
        self.looked = self.saw = time.monotonic()
        self.pause = _FIRST_LOOK

    def until(self, phase: str, missing: Callable[[], list[str]], limit: float, emit: Emit) -> None:
        began = told = time.monotonic()
        emit("begin", phase=phase, limit=round(limit, 1))
        try:
            while missing():
                self._once(phase)
                now = time.monotonic()
                if now - began > limit:
                    raise TimedOut(
                        "; ".join(missing()), seconds=now - began, node=self.name, last_lines=self._tail(),
                        hint="a slow host needs more: --timeout-scale 3; a menu that waits for a key never goes on",
                    )  # fmt: skip
                if now - told >= _PROGRESS_EVERY:
                    told = now
                    emit("progress", phase=phase, elapsed=round(now - began, 1))
        except LabError as error:
            interrupted = isinstance(error, Interrupted)
            emit("end", phase=phase, outcome="interrupted" if interrupted else "failed", cause=cause_of(error))
            raise
        emit("end", phase=phase, outcome="ok", seconds=round(time.monotonic() - began, 1))

    def _once(self, phase: str) -> None:
        if self.stop.is_set():
            raise Interrupted(f"{self.name}: the boot was interrupted")
        running = self.machine.is_running()  # asked first: what it wrote before its end is read below
        lines = self.reader.read()
        fatal = next((cause for line in lines if (cause := self.watch.line(line)) is not None), None)
        self.watch.shown(self.reader.partial, "console")
        self._screen()
        with self._memory(fatal is not None) as memory:
            if memory is not None:
                fatal = self.watch.memory(memory) or fatal
        waits = bool(self.watch.kernel_missing() or self.watch.answers_missing())
        if fatal is not None and waits:
            raise NodeFailed(self.name, fatal.message, cause=fatal.name, phase=phase, last_lines=self._tail(),
                             hint=fatal.cure)  # fmt: skip
        if not running and waits:
            raise self._ended(phase)
        if not lines:
            self.stop.wait(POLL)

    def _ended(self, phase: str) -> LabError:
        if self.machine.said:
            return NodeFailed(self.name, "QEMU ended", cause="qemu", phase=phase, last_lines=self.machine.said[-_TAIL:],
                              hint="is another QEMU using the medium for writing, or memory short?")  # fmt: skip
        message = "the machine powered off or reset before all was seen"
        return NodeFailed(self.name, message, cause="early-end", phase=phase, last_lines=self._tail(),
                          hint="read its last words")  # fmt: skip

    def _screen(self) -> None:
        """Look at the screen when it is time to."""
        if self.watch.wants_screen() and time.monotonic() - self.saw >= _LOOK_EVERY:
            for line in self.machine.screen_text():
                self.watch.shown(line, "screen")
            self.saw = time.monotonic()

    @contextlib.contextmanager
    def _memory(self, now: bool) -> Iterator[GuestMemory | None]:
        """The memory when it is time to look: seldom while that takes long, and once more when all is lost."""
        began = time.monotonic()
        memory = None
        if self.watch.wants_memory() and (now or began - self.looked >= self.pause):
            with contextlib.suppress(OSError):
                pid = self.machine.pid()
                memory = GuestMemory(pid) if pid is not None else None
        yield memory
        if memory is not None:
            memory.close()
            self.looked = time.monotonic()
            self.pause = max(_LOOK_EVERY, _SHARE * (self.looked - began))

    def _tail(self) -> list[str]:
        partial = [self.reader.partial] if self.reader.partial.strip() else []
        return [*self.watch.last, *partial][-_TAIL:] or ["(nothing on the serial console)"]


def cause_of(error: LabError) -> str:
    """The stable name of what ended a boot."""
    return error.cause if isinstance(error, NodeFailed) else "timeout" if isinstance(error, TimedOut) else "error"
