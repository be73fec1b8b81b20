"""`nestlab media prove`."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import click

from builder.cli.frame import App, pass_app, volume_options
from builder.cli.media_local import ISO
from builder.cli.output import blanked, bytes_text, columns, fields, output_option, printable, show
from builder.cli.progress import listening
from builder.errors import LabError, UsageError
from builder.events import EventLog
from builder.lifecycle.media_proof_model import BootResult, Files, Judge, ProofRequest, Report, Way
from builder.media.errors import MediaError
from builder.media.sinks.file import plain_target
from builder.model.units import parse_size
from builder.paths import write_atomic
from builder.secrets import redact

T = TypeVar("T")
FAILED, TIMED_OUT = 1, 4
_WHERE = {"console": "on the console", "memory": "in its memory", "screen": "on the screen"}
_FIRMWARE, _ATTACHED = ("bios", "uefi"), ("cd", "usb")


def _memory(_ctx: click.Context, _param: click.Parameter, value: str) -> int:
    try:
        size = parse_size(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    if not 64 << 20 <= size <= 1 << 40:
        raise click.BadParameter("a machine has between 64 MiB and 1 TiB")
    return size


@click.command()
@click.argument("iso", metavar="ISO", type=ISO)
@click.option("--source", type=ISO, metavar="VENDOR.ISO", help="The medium it was made from, to compare with.")
@click.option("--firmware", multiple=True, type=click.Choice(_FIRMWARE), help="Boot by this only; without it by both.")
@click.option("--as", "attached", multiple=True, type=click.Choice(_ATTACHED),
              help="Boot it as this only; without it as both.")  # fmt: skip
@click.option("--expect-argument", "kernel", multiple=True, metavar="ARG",
              help="An argument that the kernel must get; those that --source lacks are awaited anyway.")  # fmt: skip
@click.option("--expect-xen-argument", "hypervisor", multiple=True, metavar="ARG", help="The same for the hypervisor.")
@click.option("--expect-file", "files", multiple=True, type=ISO, metavar="FILE",
              help="A local file whose content the booted system must have, such as the answers.")  # fmt: skip
@click.option("--expect-text", "texts", multiple=True, metavar="REGEX",
              help="A line that the serial console must show, or a screen in text mode.")  # fmt: skip
@click.option("--memory", callback=_memory, default="2GiB", metavar="SIZE", help="Memory of each machine.")
@click.option("--timeout-scale", type=click.FloatRange(0, 1000, min_open=True), default=1.0, metavar="FACTOR",
              help="Multiply every timeout.")  # fmt: skip
@click.option("-j", "--jobs", type=click.IntRange(0, 256), default=0, help="Boots at once; 0: as many as cores.")
@click.option("--out", type=ISO, metavar="REPORT",
              help="Write the report, as JSON when named so; consoles and screenshots go beside it.")  # fmt: skip
@output_option("jsonl")
@volume_options
@pass_app
def prove(
    app: App, *, iso: Path, source: Path | None, firmware: tuple[str, ...], attached: tuple[str, ...],
    kernel: tuple[str, ...], hypervisor: tuple[str, ...], files: tuple[Path, ...], texts: tuple[str, ...],
    memory: int, timeout_scale: float, jobs: int, out: Path | None, how: str,
) -> int:  # fmt: skip
    """Boot ISO in QEMU as CD and as USB disk, by BIOS and UEFI, until it has shown what it is for.

    Each boot must show a kernel with the awaited arguments, and the files put into its initial RAM disk unpacked: on
    the serial console, or in the guest's memory, where a silent kernel keeps its log, too. With --source the boot
    records are compared field by field by programs that are not ours, every other file must be where it was, and what
    was put in is listed (CycloneDX). Exits 1 when something is not as it should be, 4 when that is only time.

    \b
    nestlab media prove host.iso --source xcp-ng.iso --out proof.json
    """
    ways = [Way.model_validate({"firmware": f, "attached": a}) for f in _FIRMWARE for a in _ATTACHED
            if f in (firmware or _FIRMWARE) and a in (attached or _ATTACHED)]  # fmt: skip
    if out is not None:
        check_out(out)
    request = ProofRequest(
        iso=iso, source=source, ways=tuple(ways), kernel=kernel, hypervisor=hypervisor, files=files, texts=texts,
        memory=memory, timeout_scale=timeout_scale, jobs=jobs, kept=None if out is None else kept_beside(out),
    )  # fmt: skip
    from builder.lifecycle.media_proof import prove as make

    with listening(app, how) as listener:
        log = EventLog(iso.name, None, listener)
        report = interruptible(lambda stop: make(request, app.places, log.emit, stop))
    plain = report.model_dump(mode="json")
    if out is not None:
        told = (
            json.dumps(blanked(plain), indent=1, ensure_ascii=False) if out.suffix == ".json" else redact(text(report))
        )
        try:
            write_atomic(out, told + "\n")
        except OSError as error:
            raise LabError(f"cannot write {out}: {error.strerror}", hint="make room there") from None
    if how != "jsonl":
        show(plain, how, lambda: text(report))
    return status_of(report)


def check_out(out: Path) -> None:
    """Raises UsageError when a report cannot be written there: told before boots that take minutes."""
    try:
        writable = os.access(plain_target(out).parent, os.W_OK)
    except MediaError as error:
        raise UsageError(f"{out} cannot be written as a file: {error.message}", hint=error.hint) from None
    if not writable:
        raise UsageError(f"{out} cannot be written as a file", hint="its folder is not yours to write to")
    try:
        kept_beside(out).mkdir(exist_ok=True)
    except OSError as error:
        raise UsageError(f"{kept_beside(out)} cannot be made: {error.strerror}", hint="it holds the consoles") from None


def kept_beside(report: Path) -> Path:
    """The folder for consoles and screenshots of a report."""
    return report.with_name(f"{report.stem}.boots")


def status_of(report: Report) -> int:
    """The exit status that a report stands for."""
    if report.outcome == "proven":
        return 0
    late = [boot for boot in report.boots if boot.outcome == "timeout"]
    wrong = [boot for boot in report.boots if boot.outcome == "failed"]
    return TIMED_OUT if late and not wrong and report.is_sound else FAILED


def interruptible(work: Callable[[threading.Event], T]) -> T:
    """Run `work` in a thread, so that Ctrl-C reaches us at once and it is told to stop and waited for."""
    stop, go, done = threading.Event(), threading.Event(), threading.Event()
    results: list[T] = []
    errors: list[BaseException] = []

    def body() -> None:
        go.wait()
        try:
            if not stop.is_set():
                results.append(work(stop))
        except BaseException as error:
            errors.append(error)
        finally:
            done.set()

    thread = threading.Thread(target=body, name="proof", daemon=True)
    try:
        thread.start()
        go.set()
        # Not join(): interrupted, Python 3.11's takes the thread for ended. In steps, because a signal that another
        # thread got is acted on when this one wakes.
        while not done.wait(0.5):
            pass
    except BaseException:
        stop.set()
        go.set()
        if thread.ident is not None:  # else the interrupt came before the work
            done.wait()
        raise
    if errors:
        raise errors[0]
    return results[0]


def text(report: Report) -> str:
    """The report for people."""
    media = {"medium": report.medium, **({"source": report.source} if report.source else {})}
    head = fields({
        **{what: f"{item.name}, {bytes_text(item.size)}, sha256 {item.sha256}" for what, item in media.items()},
        "volume": f"{report.volume_id} ({report.installer})",
    })  # fmt: skip
    blocks = [head, *_comparison(report), _boots(report.boots), *_failures(report.boots)]
    return printable("\n\n".join([*blocks, f"{report.outcome}, {report.date}, nestlab {report.nestlab}"]))


def _comparison(report: Report) -> Iterator[str]:
    if report.files is None:
        yield "not compared: no --source was named"
        return
    yield columns(["judge", "fields", "ends moved", "different"], [_judge_row(judge) for judge in report.judges])
    yield "\n".join(_file_lines(report.files))
    for judge in report.judges:
        if judge.different:
            yield "\n".join([f"{judge.tool} finds a difference:", *(f"  {line}" for line in judge.different)])
    rows = [row for item in (report.bill or {}).get("components", []) for row in _bill_rows(item, "")]
    if rows:
        yield columns(["put in", "how", "bytes", "sha256"], rows)


def _judge_row(judge: Judge) -> list[object]:
    if judge.missing:
        return [judge.tool, "-", "-", f"not installed: apt-get install {judge.missing}"]
    return [judge.tool, judge.fields, judge.grown, len(judge.different) or "none"]


def _file_lines(files: Files) -> Iterator[str]:
    yield f"{files.same} files of all trees are where they were, with the same content"
    for what, names in (
        ("gone", files.missing), ("moved though nobody changed them", files.moved), ("boot images changed", files.boot),
    ):  # fmt: skip
        if names:
            yield f"{what}: {', '.join(names)}"
    if not files.identity:
        yield "the volume's name or dates are not what they were: installers may not find it"


def _bill_rows(item: dict[str, Any], above: str) -> Iterator[list[object]]:
    said = {entry["name"].rpartition(":")[2]: entry["value"] for entry in item["properties"]}
    yield [above + item["name"], said["how"], said["size"], item["hashes"][0]["content"]]
    for part in item.get("components", []):
        yield from _bill_rows(part, "  ")


def _boots(boots: tuple[BootResult, ...]) -> str:
    rows = []
    for boot in boots:
        awaited = (*boot.arguments, *boot.answers, *boot.texts)
        shown = sum(item.where is not None for item in awaited)
        line = _WHERE[boot.command_line_seen] if boot.command_line_seen else "-"
        outcome = boot.outcome if boot.starts == 1 else f"{boot.outcome}, started twice"
        rows.append([f"{boot.firmware} {boot.attached}", outcome, boot.accelerator, f"{boot.seconds:.0f} s", line,
                     f"{shown} of {len(awaited)}"])  # fmt: skip
    table = columns(["boot", "outcome", "on", "took", "kernel's command line", "seen"], rows)
    return "\n".join([table, *_seen(boots)])


def _seen(boots: tuple[BootResult, ...]) -> Iterator[str]:
    """Each thing that was awaited, and the boots that showed it."""
    names = dict.fromkeys(item.what for boot in boots for item in (*boot.arguments, *boot.answers, *boot.texts))
    for name in names:
        places = []
        for boot in boots:
            item = next((i for i in (*boot.arguments, *boot.answers, *boot.texts) if i.what == name), None)
            if item is not None and item.where is not None:
                places.append(f"{boot.firmware} {boot.attached} ({item.where})")
        yield f"  {name}: {', '.join(places) or 'not seen'}"


def _failures(boots: tuple[BootResult, ...]) -> Iterator[str]:
    for boot in boots:
        if boot.outcome != "ok":
            kept = [f"  {what}: {path}" for what, path in (("console", boot.console), ("screen", boot.screenshot))
                    if path]  # fmt: skip
            yield "\n".join([boot.message, *kept])
