"""Why nodes failed, by the names that `up` gives: `nestlab explain CAUSE`, and `--log FILE` for a log at hand."""

from __future__ import annotations

from pathlib import Path

from builder.errors import LabError, UsageError
from builder.model.plan import Cause

_ANY = "any"
_GUESTS = "guests"
_MEDIA = "media prove"
# What `media prove` says in its own words each time.
_PROOF = (
    Cause(
        pattern="",
        name="early-end",
        message="the machine went off before the medium had shown what it should",
        cure="the last lines tell why: nestlab media prove -v shows the console",
    ),
    Cause(
        pattern="",
        name="qemu",
        message="QEMU ended by itself",
        cure="its own words follow: a file or a port that it cannot have, or a setting that this version does not know",
    ),
)


def _known() -> dict[str, tuple[Cause, ...]]:
    """All causes, by the systems whose machines they are of."""
    from builder.drivers.ends import ENDS
    from builder.lifecycle.media_proof_follow import CAUSES
    from builder.systems import failures
    from builder.systems.causes import GUESTS

    of_systems = {
        name: tuple(cause for cause in each if cause not in GUESTS) for name, each in failures().items()
    }  # fmt: skip
    return {_ANY: tuple(ENDS.values()), **of_systems, _GUESTS: GUESTS, _MEDIA: (*CAUSES, *_PROOF)}


def _rows() -> list[dict[str, str]]:
    """One for each name, meaning and cure, with the systems that it is of."""
    places: dict[tuple[str, str, str], list[str]] = {}
    for place, causes in _known().items():
        for cause in causes:
            places.setdefault((cause.name, cause.message, cause.cure), []).append(place)
    return [
        {"cause": name, "of": " ".join(dict.fromkeys(where)), "meaning": f"{message}.", "cure": cure}
        for (name, message, cure), where in places.items()
    ]


def causes_named(name: str) -> list[dict[str, str]]:
    """What that name means and what to do, for each kind of machine where it means something of its own."""
    return [row for row in _rows() if row["cause"] == name]


def causes_listed() -> list[dict[str, str]]:
    """Every name with its meanings, in one line each."""
    meanings: dict[str, list[str]] = {}
    for row in sorted(_rows(), key=lambda row: row["cause"]):
        meanings.setdefault(row["cause"], []).append(row["meaning"].removesuffix("."))
    return [{"code": name, "meaning": f"A failure: {'; or '.join(told)}."} for name, told in meanings.items()]


def failures_in(log: Path, system: str | None) -> list[dict[str, str]]:
    """What a console or an installer's log tells, by the causes of one system or of all of them.

    Raises UsageError for a system that there is none of, LabError when no line is known."""
    from builder.drivers.console import ConsoleFollower
    from builder.systems.causes import GUESTS, find_cause

    known = {name: causes for name, causes in _known().items() if name not in (_ANY, _MEDIA)}
    if system is not None and system not in known:
        raise UsageError(f"there is no system {system}", hint=f"known: {', '.join(known)}")
    reader = ConsoleFollower(log)
    text = "\n".join((*reader.read(), reader.partial))
    reader.close()
    chosen = known if system is None else {system: (*known[system], *GUESTS)}
    found = [(name, cause) for name, causes in chosen.items() if (cause := find_cause(causes, text)) is not None]
    if not found:
        raise LabError(
            f"no line of {log} is known as the cause of a failure",
            hint="read its last lines; what `up` recognises is listed by: nestlab explain --list",
        )
    rows: dict[tuple[str, str, str], list[str]] = {}
    for name, cause in found:
        rows.setdefault((cause.name, cause.message, cause.cure), []).append(name)
    return [
        {"cause": name, "of": " ".join(where), "meaning": f"{message}.", "cure": cure}
        for (name, message, cure), where in rows.items()
    ]
