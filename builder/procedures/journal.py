"""What was before, kept on the host itself: whoever comes next can undo it, from whatever machine."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from builder.errors import LabError
from builder.model.host import Host
from builder.model.lab import Value

FOLDER = "/var/lib/nestlab/procedures"
VERSION = 1


class Record(Value):
    """One application: what was asked for, last, and what was before the first run."""

    procedure: str
    dialect: str
    asked: Mapping[str, Any]
    before: Mapping[str, Any]
    v: int = VERSION


class Journal:
    """The file of one application, readable by root alone. It is there before the first change and as long as the
    change is."""

    def __init__(self, host: Host, key: str) -> None:
        self._host = host
        self._key = key
        self.path = f"{FOLDER}/{key.replace('/', '_')}.json"

    def read(self) -> Record | None:
        """None when there is none. Raises LabError for one that is not ours or of another version."""
        if not self._host.run(["test", "-e", self.path]).ok:
            return None
        text = self._host.read(self.path).decode(errors="replace")
        try:
            raw = json.loads(text)
            if isinstance(raw, dict) and raw.get("v") != VERSION:
                raise LabError(
                    f"{self._host.name}: {self.path} is of version {raw.get('v')}, this nestlab reads {VERSION}",
                    hint="undo it with the nestlab that applied it",
                )
            return Record.model_validate(raw)
        except (ValueError, ValidationError):
            raise LabError(
                f"{self._host.name}: {self.path} cannot be read: it is no journal of nestlab's",
                hint="look at the file; without it nothing can be undone by itself",
            ) from None

    def begin(self, record: Record) -> None:
        """Keep this; what was before stays that of the first run."""
        earlier = self.read()
        if earlier is not None:
            record = record.model_copy(update={"before": earlier.before})
        made = self._host.run(["install", "-d", "-m", "0700", FOLDER])
        if not made.ok:
            raise LabError(f"{self._host.name}: {FOLDER} cannot be made: {made.stderr.strip()}", hint="is / read-only?")
        text = json.dumps(record.model_dump(mode="json"), indent=2, sort_keys=True) + "\n"
        self._host.write(self.path, text.encode(), mode=0o600)

    def end(self) -> None:
        """What it kept is back: forget it. Raises LabError when that fails: the next run would take it for
        what was before."""
        gone = self._host.run(["rm", "-f", "--", self.path])
        if not gone.ok:
            raise LabError(
                f"{self._host.name}: {self.path} cannot be taken away: {gone.stderr.strip()}", hint="is / read-only?"
            )

    @staticmethod
    def keys(host: Host, procedure: str) -> list[str]:
        """The journals of a procedure that tells its applications apart."""
        listed = host.run(["ls", "-1", FOLDER])
        names = listed.stdout.splitlines() if listed.ok else []
        found = [name.removesuffix(".json") for name in names if name.endswith(".json")]
        return [name for name in found if name.partition("@")[0] == procedure]
