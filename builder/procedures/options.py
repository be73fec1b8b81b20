"""Options as they are written on a command line: `key=value`, every mistake at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import ValidationError

from builder.errors import UsageError
from builder.model.units import MIB, show_size
from builder.procedures.api import Options, Procedure


def split_options(words: Sequence[str]) -> dict[str, str]:
    """Raises UsageError for a word that is no `key=value`, and for a key given twice."""
    found: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise UsageError(f"{word!r} is no option of a procedure", hint="write key=value")
        if key in found:
            raise UsageError(f"{key} is given twice")
        found[key] = value
    return found


def parse_options(procedure: Procedure, given: Mapping[str, str]) -> Options:
    """Raises UsageError that names everything that is wrong, and what the procedure takes."""
    try:
        return procedure.options.model_validate(dict(given))
    except ValidationError as error:
        lines = [f"\n  {'.'.join(map(str, row['loc'])) or procedure.name}: {_said(row['type'], row['msg'])}"
                 for row in error.errors()]  # fmt: skip
        raise UsageError(
            f"{procedure.name} cannot be asked for that:{''.join(lines)}",
            hint=f"it takes: {', '.join(describe_options(procedure)) or 'no options'}",
        ) from None


def describe_options(procedure: Procedure) -> list[str]:
    """`name` of what must be given, `name=default` of the rest."""
    rows = []
    for name, field in procedure.options.model_fields.items():
        default = field.get_default()
        shown = "" if default in (None, ()) else show_default(default)
        rows.append(name if field.is_required() else f"{name}={shown}" if shown else f"[{name}]")
    return rows


def show_default(value: object) -> str:
    """A default as people would write it, or what a journal has of one."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list):
        return ",".join(map(show_default, value))
    return show_size(value) if isinstance(value, int) and value >= MIB else str(value)


def _said(kind: str, message: str) -> str:
    known = {"extra_forbidden": "there is no such option", "missing": "this must be given"}
    return known.get(kind, message.removeprefix("Value error, "))
