"""Small helps for wording a finding: the nearest known name, what a value is, a value cut to a readable length."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

SHOWN = 60
COMPARED = 300


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that `name` most likely means, or None when nothing is close."""
    import difflib  # noqa: PLC0415 - only an error needs it, and starting up is measured

    if len(name) > SHOWN:
        return None
    by_folded = {_fold(each): each for each in known}
    if len(by_folded) > COMPARED:
        start = _fold(name)[:2]
        by_folded = {key: by_folded[key] for key in [key for key in by_folded if key.startswith(start)][:COMPARED]}
    close = difflib.get_close_matches(_fold(name), list(by_folded), n=1, cutoff=0.6)
    return by_folded[close[0]] if close else None


def _fold(name: str) -> str:
    return name.lower().replace("-", "_")


def suggest(name: str, known: Sequence[str], *, kind: str) -> str:
    """A hint for a name nobody knows: the nearest one, and what there is."""
    near = nearest(name, known)
    listed = listing(known) if known else "none"
    return f"did you mean {shown(near)}? {kind}: {listed}" if near else f"{kind}: {listed}"


def listing(names: Sequence[str], *, limit: int = 24) -> str:
    """The names, separated by commas; of very many the first ones and the number of the rest."""
    first = ", ".join(shown(name) for name in names[:limit])
    return first if len(names) <= limit else f"{first} and {len(names) - limit} more"


def shown(text: str) -> str:
    """The text cut to a readable length, with nothing in it that a terminal would act upon."""
    cut = text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in cut)


def shorten(text: str) -> str:
    """The text in quotes, as `shown`."""
    return f"'{shown(text)}'"


def describe(value: object) -> str:
    """What a value from a lab file is, in plain words."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"the number {shown(written(value))}"
    if isinstance(value, str):
        return f"the text {shorten(value)}"
    return "a mapping" if isinstance(value, dict) else "a list"


def written(value: object) -> str:
    """The text of a scalar as it stands in the lab file (see `document`)."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(getattr(value, "text", value))
