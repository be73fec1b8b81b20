"""The ways in which a procedure does not succeed."""

from __future__ import annotations

from collections.abc import Sequence

from builder.errors import LabError
from builder.procedures.api import Action, Evidence, Refusal


class Refused(LabError):
    """Nothing was done, for these reasons."""

    def __init__(self, node: str, procedure: str, refusals: Sequence[Refusal]) -> None:
        self.refusals = tuple(refusals)
        lines = "".join(f"\n  {r.message} [{r.code}]\n    hint: {r.hint}" for r in self.refusals)
        super().__init__(f"{node}: {procedure} is refused, nothing was changed:{lines}")


class Failed(LabError):
    """An action failed. What was done before it is named, and how to take it back."""

    def __init__(self, node: str, procedure: str, done: Sequence[Action], failed: Action, said: str) -> None:
        self.done = tuple(done)
        self.failed = failed
        before = "".join(f"\n  done: {_first(action)}" for action in self.done) or "\n  nothing was done before it"
        hint = getattr(failed, "hint", "")
        undo = f"nestlab procedure undo LAB {node} {procedure} brings back what was before"
        super().__init__(
            f"{node}: {procedure} failed at: {_first(failed)}\n  | {said.strip() or 'it said nothing'}{before}",
            hint=f"{hint}; {undo}" if hint else undo,
        )


class Unproven(LabError):
    """Everything was done, now or earlier (`changed`), and the effect is not what it should be."""

    def __init__(
        self, node: str, procedure: str, evidence: Sequence[Evidence], *, undone: bool = False, changed: bool = True
    ) -> None:
        self.evidence = tuple(evidence)
        lines = "".join(f"\n  {e.what}: expected {e.expected}, seen {e.seen}" for e in evidence if not e.ok)
        what = "was done, but its effect is not there" if changed else "is set up, but its effect is not there"
        what = "was undone, but the host is not as it was" if undone else what
        back = f"nestlab procedure undo LAB {node} {procedure} brings back what was before"
        super().__init__(
            f"{node}: {procedure} {what}:{lines}",
            hint="the journal was kept: look at the host, then run the same command again"
            if undone
            else back
            if changed
            else f"nothing was changed now: look at the host; {back}",
        )


def _first(action: Action) -> str:
    return str(action).partition("\n")[0]
