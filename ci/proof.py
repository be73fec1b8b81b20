"""Proofs: dated records of what was really done, one JSON file a part in `ci/proofs/`.

A claim says the strongest thing that was shown for one system on one path. It is valid for the sources it was made
from: their digest is in the claim, and the matrix in the README calls it stale when they have changed since.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import builder
from builder.cli import sources
from builder.errors import LabError
from builder.paths import write_atomic
from builder.run import run

ROOT = Path(__file__).resolve().parent.parent
PROOFS = ROOT / "ci/proofs"
OUT = ROOT / "ci/out"
VERSION = 1

Strength = Literal["rendered", "judged", "booted", "installed", "verified"]
STRENGTHS: tuple[Strength, ...] = ("rendered", "judged", "booted", "installed", "verified")

HERE = sources.HERE
EXPORT_INPUTS = sources.EXPORTS


@dataclass(frozen=True, slots=True)
class Claim:
    """`path` is how the system came to the node. `l0` is what it is for (empty for answers, which are the same on all),
    `accelerator` what it ran by there (empty where nothing ran: what was rendered or judged); `date` is a day."""

    system: str
    release: str
    l0: str
    accelerator: str
    path: Literal["image", "medium"]
    firmware: Literal["bios", "uefi"]
    proof: Strength
    inputs: str
    date: str = ""


@dataclass(frozen=True, slots=True)
class Proof:
    """One run of one part. `figures` are the part's own; `outcome` is ok or failed."""

    part: str
    outcome: Literal["ok", "failed"]
    claims: tuple[Claim, ...] = ()
    figures: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    machine: Mapping[str, Any] = field(default_factory=dict)
    date: str = ""
    commit: str = ""
    v: int = VERSION


def claim_digest(system: str, l0: str, path: str) -> str:
    """Of what a claim depends on. Raises LabError as `inputs_digest` does."""
    return inputs_digest(*sources.of_claim(system, l0, path))


def inputs_digest(*folders: str) -> str:
    """Over names and contents of the project files in these folders. Raises LabError where git does not know them."""
    found = sources.digest(ROOT, *folders)
    if found is None:
        raise LabError(f"{ROOT} is no checkout that git can list the files of", hint="proofs are made in one")
    return found


def product_digest() -> str:
    """Of everything that the product is made of."""
    return inputs_digest("builder", "answerfiles", "kickstarts", "labs", "pyproject.toml", "ci/requirements.lock")


def machine() -> dict[str, Any]:
    """What the figures were measured on: no names, only sizes. Load averages are those of now."""
    memory = Path("/proc/meminfo").read_text().split()[1]
    return {
        "cpus": os.cpu_count(),
        "memory_mib": int(memory) // 1024,
        "load": [round(value, 2) for value in os.getloadavg()],
        "kernel": platform.release(),
        "system": platform.freedesktop_os_release().get("PRETTY_NAME", ""),
    }


def versions(**more: str) -> dict[str, str]:
    """Of what a nested host runs on; `more` are those that only the caller knows, such as Xen's."""
    qemu = run(["qemu-system-x86_64", "--version"]).stdout.splitlines()[0].removeprefix("QEMU emulator version ")
    return {
        "nestlab": builder.__version__,
        "qemu": qemu,
        "libvirt": _libvirt(),
        "python": platform.python_version(),
        **more,
    }


def _libvirt() -> str:
    import libvirt  # noqa: PLC0415 - built from source; the matrix is made without it

    number = libvirt.getVersion()
    return f"{number // 1000000}.{number // 1000 % 1000}.{number % 1000}"


def commit() -> str:
    """The commit that runs, with `+changes` when files differ from it: others than the proofs of parts that ran
    before in the same clone."""
    head = run(["git", "rev-parse", "--short=12", "HEAD"], cwd=ROOT).stdout.strip()
    others = ("--", ".", ":(exclude)ci/proofs")
    changed = run(["git", "status", "--porcelain", "--untracked-files=no", *others], cwd=ROOT).stdout.strip()
    return f"{head}+changes" if changed else head


def write_proof(
    part: str,
    *,
    ok: bool,
    claims: Sequence[Claim] = (),
    figures: Mapping[str, Any] | None = None,
    more_versions: Mapping[str, str] | None = None,
    load_at_start: Sequence[float] = (),
) -> Path:
    """Put the proof of a finished part in its file, whole or not at all. Returns the file."""
    now = datetime.now(UTC)
    facts = machine()
    if load_at_start:
        facts["load_at_start"] = [round(value, 2) for value in load_at_start]
    proof = Proof(
        part=part,
        outcome="ok" if ok else "failed",
        claims=tuple(claims),
        figures=figures or {},
        versions=versions(**(more_versions or {})),
        machine=facts,
        date=now.isoformat(timespec="seconds"),
        commit=commit(),
    )
    PROOFS.mkdir(exist_ok=True)
    path = PROOFS / f"{part}.json"
    write_atomic(path, json.dumps(asdict(proof), indent=2, sort_keys=True) + "\n")
    return path


def today() -> str:
    return datetime.now(UTC).date().isoformat()


def read_claims(files: Iterable[Path] | None = None) -> list[Claim]:
    """Every claim of every proof. Raises ValueError for a file of an unknown version."""
    claims: list[Claim] = []
    for path in sorted(PROOFS.glob("*.json")) if files is None else files:
        raw = json.loads(path.read_text("utf-8"))
        if raw.get("v") != VERSION:
            raise ValueError(f"{path.name}: proofs of version {raw.get('v')} are unknown")
        claims += [Claim(**{**claim, "date": claim.get("date") or raw["date"][:10]}) for claim in raw["claims"]]
    return claims


def record_of(part: str, records: Iterable[Path]) -> dict[str, Any] | None:
    """The record of a part as it was written; None when it is not among these."""
    found = next((file for file in records if file.stem == part), None)
    return None if found is None else dict(json.loads(found.read_text("utf-8")))


def status_of(argv: Sequence[str | Path], *, timeout: float, env: Mapping[str, str], log: Path) -> int:
    """Run a program of this project to its end with its output in `log` (appended), and return its status.

    A file and not a pipe: what the program leaves running may go on writing. One that is out of time, or that we are
    interrupted over, is asked to end and has a minute to clear up.
    """
    with log.open("ab") as file:
        process = subprocess.Popen(
            [str(a) for a in argv], cwd=ROOT, env={**os.environ, **env}, stdin=subprocess.DEVNULL, stdout=file,
            stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            return process.wait(timeout)
        except BaseException:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(60)
            raise
        finally:
            process.kill()
            process.wait()
