"""The proof of a medium: what changed beyond the vendor's, judged by others, and a boot on each way asked for.

Every part is a step. Comparisons and boots that find something wrong are results, not errors: the report tells all of
them. Errors are what keeps a proof from being made: an unreadable medium, a host that lacks something, Ctrl-C.
"""

from __future__ import annotations

import os
import re
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import builder
from builder.errors import HostLacks, Interrupted, LabError, TimedOut, UsageError
from builder.events import Emit, about
from builder.lifecycle import accelerator
from builder.lifecycle.doctor_ground import Ground
from builder.lifecycle.doctor_room import available_memory
from builder.lifecycle.media_proof_expect import expectations, found_answers, read_asked
from builder.lifecycle.media_proof_follow import Watch, cause_of, follow
from builder.lifecycle.media_proof_machine import Machine, Setup, proof_folder
from builder.lifecycle.media_proof_model import (
    Answer,
    BootResult,
    Digested,
    Expected,
    Files,
    Judge,
    ProofRequest,
    Report,
    Way,
)
from builder.lifecycle.media_proof_records import compare_records
from builder.lifecycle.panics import with_second_start
from builder.lifecycle.plan import QEMU_OVERHEAD
from builder.lifecycle.steps import Gate, Runner, Step
from builder.media.bill import Image, Injected, Progress, changed_paths, cyclonedx, digest, injected
from builder.media.boot import Menu
from builder.media.compare import compare
from builder.media.inspect import inspect
from builder.paths import Places, write_atomic
from builder.secrets import Secret, redact

_SCALE = {"tcg": 6.0, "kvm": 2.0}
_EXPECTED_SECONDS = 20.0
_SCREEN = "screen.png"


def prove(request: ProofRequest, places: Places, emit: Emit, stop: threading.Event) -> Report:
    """Make the proof. `stop` ends it early, with nothing left running.

    Raises MediaError for what is no sound medium, HostLacks with what to install, UsageError, Interrupted.
    """
    for text in request.texts:
        _check_pattern(text)
    asked = tuple(read_asked(request.files))
    with proof_folder(places) as folder:
        return _Proof(request, asked, places, folder, emit).run(stop)


def _check_pattern(text: str) -> None:
    try:
        re.compile(text)
    except re.error as error:
        raise UsageError(f"/{text}/ is no regular expression: {error}", hint="escape what is meant as it is") from None


class _Proof:
    """One proof under way. Steps fill in its parts."""

    def __init__(
        self, request: ProofRequest, asked: tuple[Answer, ...], places: Places, folder: Path, emit: Emit
    ) -> None:
        self.request, self.asked, self.places, self.folder, self.emit = request, asked, places, folder, emit
        self.medium = inspect(request.iso)
        self.vendor = inspect(request.source) if request.source is not None else None
        self.digests: dict[str, Image] = {}
        self.judges: tuple[Judge, ...] = ()
        self.files: Files | None = None
        self.injected: tuple[Injected, ...] = ()
        self.expected = Expected()
        self.boots: dict[str, BootResult] = {}
        self.verdict = accelerator.AcceleratorVerdict(accelerator="tcg", proven=False, reason="")
        self._works: Mapping[str, Callable[[Step, Emit, threading.Event], None]] = {
            "read": self._do_read,
            "files": self._do_files,
            "records": self._do_records,
            "accelerator": self._do_accelerator,
            "boot": self._do_boot,
        }

    def run(self, stop: threading.Event) -> Report:
        steps = self._steps()
        boots = max(1, sum(step.name == "boot" for step in steps))
        self.emit("begin", steps=[step.id for step in steps])
        Runner(self._do, jobs=boots + 1, gate=Gate({"boot": self._at_once(boots)})).run(steps, stop)
        report = self._report()
        self.emit("end", outcome="ok" if report.outcome == "proven" else "failed")
        return report

    def _steps(self) -> list[Step]:
        read = Step(id="read", name="read", version=1, kind="live")
        compared = [Step(id=name, name=name, version=1, kind="live") for name in ("files", "records")]
        before = [read, *compared] if self.vendor is not None else [read]
        needs = ("read", "files") if self.vendor is not None else ("read",)
        probe = Step(id="accelerator", name="accelerator", version=1, kind="live", needs=needs)
        boots = [
            Step(
                id=f"{way.name}/boot", name="boot", version=1, kind="live", node=way.name, needs=("accelerator",),
                inputs=way.model_dump(), weight=_EXPECTED_SECONDS,
            )
            for way in self.request.ways
        ]  # fmt: skip
        return [*before, probe, *boots]

    def _at_once(self, boots: int) -> int:
        """How many machines there are cores and memory for. Raises HostLacks when it is none."""
        each = self.request.memory + QEMU_OVERHEAD
        available = available_memory(Ground(self.places))
        if available is not None and available < each:
            raise HostLacks(
                f"a boot takes {each >> 20} MiB of memory and this host has {available >> 20} MiB free",
                hint="take down labs (nestlab ls), or give less --memory",
            )
        fit = available // each if available is not None else boots
        return max(1, min(boots, fit, self.request.jobs or len(os.sched_getaffinity(0))))

    def _do(self, step: Step, stop: threading.Event) -> None:
        tell = about(self.emit, node=step.node, step=step.id)
        tell("begin", expected=step.weight if step.name == "boot" else 0)
        try:
            self._works[step.name](step, tell, stop)
        except BaseException as error:
            tell("end", outcome="interrupted" if isinstance(error, Interrupted) else "failed")
            raise
        boot = self.boots.get(step.node) if step.node else None
        failed = boot is not None and boot.outcome != "ok"
        tell("end", outcome="failed" if failed else "ok", cause=boot.cause if boot and failed else None)

    def _do_read(self, _step: Step, _tell: Emit, stop: threading.Event) -> None:
        for what, path in (("medium", self.request.iso), ("source", self.request.source)):
            if path is not None:
                self.digests[what] = digest(path, progress=_until(stop))

    def _do_files(self, _step: Step, _tell: Emit, stop: threading.Event) -> None:
        assert self.request.source is not None
        found = compare(self.request.source, self.request.iso, progress=_until(stop))
        self.files = Files(
            same=found.same, changed=found.changed, added=found.added, moved=found.moved, missing=found.missing,
            boot=found.boot, identity=found.identity,
        )  # fmt: skip
        self.injected = injected(self.request.source, self.request.iso, changed_paths(found))

    def _do_records(self, _step: Step, _tell: Emit, _stop: threading.Event) -> None:
        assert self.request.source is not None and self.vendor is not None
        growth = self.medium.size - self.vendor.size
        self.judges = compare_records(self.request.source, self.request.iso, growth)

    def _do_accelerator(self, _step: Step, tell: Emit, stop: threading.Event) -> None:
        found = found_answers(self.request.iso, self.injected, self.folder)
        menus = None if self.vendor is None else self.vendor.menus
        self.expected = expectations(self.request, self.medium.menus, menus, (*self.asked, *found))
        self.verdict = accelerator.verdict(self.places, stop=stop)
        tell("progress", accelerator=self.verdict.accelerator, reason=self.verdict.reason)

    def _do_boot(self, step: Step, tell: Emit, stop: threading.Event) -> None:
        way = Way.model_validate(step.inputs)
        folder = self.folder / way.name
        starts: list[BootResult] = []

        def start() -> None:
            folder.mkdir(mode=0o700)
            result, error = self._start(way, folder, tell, stop)
            starts.append(result)
            if error is not None:
                raise error

        try:
            with_second_start(start, lambda: shutil.rmtree(folder), accelerator=self.verdict.accelerator, emit=tell)
        except (Interrupted, HostLacks):
            raise
        except LabError:
            pass  # how the last start ended is in its result
        self.boots[way.name] = self._keep(starts[-1].model_copy(update={"starts": len(starts)}), folder)

    def _start(self, way: Way, folder: Path, tell: Emit, stop: threading.Event) -> tuple[BootResult, LabError | None]:
        """Power on, follow it to where it comes, and pull the plug. Console and screenshot stay in `folder`."""
        machine = Machine(
            Setup(
                self.request.iso, way, folder, self.verdict.accelerator, self.request.memory,
                mirrored=not writes_to_serial(self.medium.menus),
            )
        )  # fmt: skip
        watch = Watch(self.expected)
        machine.start()
        error: LabError | None = None
        try:
            scale = self.request.timeout_scale * _SCALE[self.verdict.accelerator]
            follow(machine, watch, tell, scale=scale, stop=stop)
        except (Interrupted, HostLacks):
            raise
        except LabError as caught:
            error = caught
        finally:
            seconds = watch.elapsed()
            machine.screenshot(folder / _SCREEN)
            machine.end()
        return _result(way, watch, error, self.verdict, seconds), error

    def _keep(self, result: BootResult, folder: Path) -> BootResult:
        """Copy console and screenshot to where they outlive the proof."""
        kept = self.request.kept
        if kept is None and result.outcome == "ok":
            return masked(result)
        if kept is None:
            kept = self.places.state / "failures" / f"media-{self.digests['medium'].sha256[:12]}"
        name, found = f"{result.firmware}-{result.attached}", {}
        try:
            kept.mkdir(parents=True, exist_ok=True)
            if (folder / "console.log").exists():
                said = (folder / "console.log").read_text("utf-8", "replace")
                write_atomic(kept / f"{name}.log", redact(said, secrets_in(result.command_line)), mode=0o600)
                found["console"] = str(kept / f"{name}.log")
            if (folder / _SCREEN).exists():
                found["screenshot"] = str(shutil.copyfile(folder / _SCREEN, kept / f"{name}.png"))
        except OSError as error:
            raise LabError(f"cannot keep the console in {kept}: {error.strerror}", hint="make room there") from None
        return masked(result).model_copy(update=found)

    def _report(self) -> Report:
        medium, source = self.digests["medium"], self.digests.get("source")
        now = datetime.now(UTC).isoformat(timespec="seconds")
        report = Report(
            nestlab=builder.__version__,
            date=now,
            outcome="failed",
            medium=_digested(medium),
            source=_digested(source) if source else None,
            volume_id=self.medium.volume_id,
            installer=" ".join(filter(None, (self.medium.installer.family, self.medium.installer.release))),
            judges=self.judges,
            files=self.files,
            boots=tuple(self.boots[way.name] for way in self.request.ways),
            bill=cyclonedx(source, medium, self.injected, when=now) if source else None,
        )
        proven = report.is_sound and all(boot.outcome == "ok" for boot in report.boots)
        return report.model_copy(update={"outcome": "proven" if proven else "failed"})


def _digested(image: Image) -> Digested:
    return Digested(name=image.name, size=image.size, sha256=image.sha256)


def _until(stop: threading.Event) -> Progress:
    """A progress listener that ends long reading when it is no longer wanted."""

    def listen(_done: int, _all: int) -> None:
        if stop.is_set():
            raise Interrupted("the proof was interrupted")

    return listen


def secrets_in(command_line: str) -> tuple[Secret, ...]:
    """Passwords that installers are given as boot arguments (sshpassword=, rootpw=, ...)."""
    words = (word.partition("=") for word in command_line.split())
    return tuple(Secret(value) for name, _, value in words if value and re.search("pass|pw", name, re.IGNORECASE))


def masked(result: BootResult) -> BootResult:
    """The result without the secrets that were among the boot arguments."""
    known = secrets_in(result.command_line)
    return (
        BootResult.model_validate(_mapped(result.model_dump(), lambda text: redact(text, known))) if known else result
    )


def _mapped(value: Any, change: Callable[[str], str]) -> Any:
    """Plain data with every text changed."""
    if isinstance(value, dict):
        return {key: _mapped(inner, change) for key, inner in value.items()}
    if isinstance(value, tuple | list):
        return [_mapped(inner, change) for inner in value]
    return change(value) if isinstance(value, str) else value


def writes_to_serial(menus: Sequence[Menu]) -> bool:
    """Whether a BIOS menu writes to the serial port itself: with the firmware's copy every letter would be there
    twice."""
    return any(
        menu.loader == "isolinux" and re.search(r"^[ \t]*serial[ \t]+\d", menu.text, re.MULTILINE | re.IGNORECASE)
        for menu in menus
    )


def _result(
    way: Way, watch: Watch, error: LabError | None, verdict: accelerator.AcceleratorVerdict, seconds: float
) -> BootResult:
    outcome = "ok" if error is None else "timeout" if isinstance(error, TimedOut) else "failed"
    return BootResult.model_validate(
        {
            **way.model_dump(),
            "outcome": outcome,
            "accelerator": verdict.accelerator,
            "seconds": seconds,
            "command_line": watch.kernel_line,
            "command_line_seen": watch.kernel_where,
            "hypervisor_line": watch.hypervisor_line,
            "arguments": (*watch.kernel.values(), *watch.hypervisor.values()),
            "answers": tuple(watch.answers.values()),
            "texts": tuple(watch.texts.values()),
            "cause": cause_of(error) if error else "",
            "message": str(error) if error else "",
            "last_lines": tuple(watch.last) if error else (),
        }
    )
