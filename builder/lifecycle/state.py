"""A lab's folder: what was planned, what was done, how things stand. One writer, the keeper; anybody may read.

`$STATE/labs/<lab>/{lock, lab.json, plan.json, state.json, events.jsonl, keeper.log, nodes/<node>/{steps.json, disks/,
console.log, ssh/}}`. Every JSON file carries a version; an unknown one is refused, except by `down`.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from builder.errors import LabError
from builder.lifecycle.plan import LabPlan
from builder.lifecycle.steps import Step
from builder.model.lab import Lab, Value
from builder.model.runtime import LabStatus
from builder.paths import Places, write_atomic
from builder.run import process_start_time

VERSION = 1
FIRMWARE = "uefi-vars.fd"
"""What a UEFI firmware keeps of a node, beside its disks."""


class UnknownVersion(LabError):
    """A file was written by a version of nestlab that this one does not understand."""


class StepRecord(Value):
    """`begun`: an effect may be there in part. `done`: it is there whole, made for `key`."""

    key: str
    state: Literal["begun", "done"]
    output: Any = None
    seconds: float = 0


class LockOwner(Value):
    """Who holds the lab's lock: a pid and the tick it started at, which together name one process for good."""

    pid: int
    started: int


def read_json(path: Path) -> dict[str, Any]:
    """The content of a versioned JSON file.

    Raises FileNotFoundError, UnknownVersion, and LabError for a file that is damaged.
    """
    try:
        raw = json.loads(path.read_bytes())
    except ValueError as error:
        raise LabError(
            f"{path} is damaged: {error}", hint="`nestlab down` removes the lab, whatever its state"
        ) from None
    version = raw.get("v") if isinstance(raw, dict) else None
    if version != VERSION:
        raise UnknownVersion(
            f"{path} has version {version!r}, this nestlab knows {VERSION}",
            hint="use the nestlab that started the lab, or `nestlab down` it",
        )
    return dict(raw)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    write_atomic(path, json.dumps({"v": VERSION, **content}, indent=1, ensure_ascii=False) + "\n", mode=0o600)


def read_plan(places: Places, lab_id: str) -> LabPlan:
    """The plan of a lab that is up. Raises LabError when there is none."""
    try:
        return LabPlan.model_validate(read_json(places.lab(lab_id) / "plan.json"))
    except FileNotFoundError:
        raise LabError(f"no lab named {lab_id} is up", hint="`nestlab ls` lists the labs that are") from None
    except ValidationError as error:
        raise UnknownVersion(f"the plan of lab {lab_id} does not fit this nestlab: {error.error_count()} fields differ",
                             hint="use the nestlab that started the lab, or `nestlab down` it") from None  # fmt: skip


def read_lab(places: Places, lab_id: str) -> Lab:
    return read_plan(places, lab_id).lab


def read_status(places: Places, lab_id: str) -> LabStatus | None:
    """The status as the keeper last wrote it, or None when it wrote none."""
    try:
        raw = read_json(places.lab(lab_id) / "state.json")
        return LabStatus.model_validate({key: value for key, value in raw.items() if key != "v"})
    except FileNotFoundError:
        return None
    except ValidationError:
        raise UnknownVersion(f"the state of lab {lab_id} does not fit this nestlab",
                             hint="use the nestlab that started the lab, or `nestlab down` it") from None  # fmt: skip


class LabFolder:
    """The keeper's hand on the folder. Thread-safe."""

    def __init__(self, places: Places, lab_id: str) -> None:
        self.path = places.lab(lab_id)
        self._lock = threading.Lock()
        self._records: dict[str, dict[str, StepRecord]] = {}

    def node(self, name: str) -> Path:
        path = self.path / "nodes" / name
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        return path

    def disks(self, node: str) -> Path:
        """The folder of the node's disks, and of what belongs to them. It is there once they are made."""
        return self.node(node) / "disks"

    def disk(self, node: str, disk: str) -> Path:
        return self.disks(node) / f"{disk}.qcow2"

    def write_plan(self, plan: LabPlan) -> None:
        write_atomic(self.path / "plan.json", plan.model_dump_json(indent=1) + "\n", mode=0o600)
        write_json(self.path / "lab.json", plan.lab.model_dump(mode="json"))

    def write_status(self, status: LabStatus) -> None:
        with self._lock:
            write_json(self.path / "state.json", status.model_dump(mode="json"))

    def records(self, node: str) -> dict[str, StepRecord]:
        """What is recorded of a node's steps, by step id."""
        with self._lock:
            return dict(self._load(node))

    def record(self, step: Step, record: StepRecord | None) -> None:
        """Set (or, with None, remove) the record of a live step."""
        assert step.node is not None
        with self._lock:
            records = self._load(step.node)
            if record is None:
                records.pop(step.id, None)
            else:
                records[step.id] = record
            folder = self.node(step.node)
            write_json(folder / "steps.json", {"steps": {k: r.model_dump(mode="json") for k, r in records.items()}})

    def remove_node(self, name: str) -> None:
        with self._lock:
            self._records.pop(name, None)
        shutil.rmtree(self.path / "nodes" / name, ignore_errors=True)

    def _load(self, node: str) -> dict[str, StepRecord]:
        if node not in self._records:
            try:
                raw = read_json(self.path / "nodes" / node / "steps.json")["steps"]
            except FileNotFoundError:
                raw = {}
            self._records[node] = {key: StepRecord.model_validate(value) for key, value in raw.items()}
        return self._records[node]


def write_owner(lock_fd: int) -> None:
    """Put our name into the lock file, for whoever finds the lock held and nobody answering."""
    started = process_start_time(os.getpid())
    os.ftruncate(lock_fd, 0)
    os.pwrite(lock_fd, LockOwner(pid=os.getpid(), started=started or 0).model_dump_json().encode(), 0)


def read_owner(lock: Path) -> LockOwner | None:
    """Who holds the lock, if that process still lives."""
    try:
        owner = LockOwner.model_validate_json(lock.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return owner if process_start_time(owner.pid) == owner.started else None
