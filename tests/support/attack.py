"""Hostile values for every text of every system's lab files, and what became of them."""

from __future__ import annotations

import collections
import functools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from builder.errors import LabError
from tests.support.injection import Field, Labs, changed
from tests.support.readers import Shape, files_of, shape

# What ends a string, a line, a section, an element or a command for one of the readers, and what none of them expects.
PIECES = (
    "\n", "\r\n", "\n%pre\ntouch /tmp/x\n%end\n", "\n%end\n", "\n[Service]\nExecStart=/bin/true\n", "\nEND\n",
    "]]>", "]]><x/>", "</a>", "<x/>", "<!--", "&amp;", "&lt;", "&x;", '"', "'", "''", '\\"', "\\", "\\n", ";", "; id",
    "#", " #", "`id`", "$(id)", "$x", "${IFS}", "|", "||id", "&", "&&id", ">x", "<x", "*", "?", "~", "!", "%", "%s",
    "=", " = ", ",", " ", "\t", "  x", ":", "/", "//", "../..", "{{ 7*7 }}", "{% x %}", "{#", "}", "@", "-", "--x",
    "\0", "\x1b[0m", "\x7f", "\x85", "\u2028", "\u202e", "\ufeff", "é", "漢", "😀", "e\u0301",
)  # fmt: skip
LONGEST = 300

# Settings on whose value it depends what is said, so that only the readers' consent is asked for: the host's consoles,
# what is logged, and addresses of another kind.
SHAPING = re.compile(
    r"nodes\.\*\.(xen\.(com1|console|loglvl|guest_loglvl)|release|system)|.*\.arguments|.*(url|mirror|sources|drivers|files\[\]\.path|packages|kernel|served_at"
    r"|address|addresses|gateway|interpreter|proxy|xendomains)(\[\]|\.\*\[\])?"
)


class Attack:
    """The labs of one system under attack; `counts` has how many values were refused, and how many came out inert."""

    def __init__(self, system: str, folder: Path) -> None:
        self.labs = Labs(system, folder)
        self.system = system
        self.counts: collections.Counter[str] = collections.Counter()
        self.accepted: collections.Counter[str] = collections.Counter()

    def run(self, examples: int, *, same: bool) -> None:
        """So many values at least, shared evenly among the settings. `same`: the same ones each time. Raises
        AssertionError for one that did harm."""
        each = -(-examples // len(self.labs.fields))
        for field in self.labs.fields:
            self._attack(field, each, same=same)

    def _attack(self, field: Field, examples: int, *, same: bool) -> None:
        @settings(
            max_examples=examples, deadline=None, derandomize=same, database=None,
            phases=[Phase.generate, Phase.shrink], suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(values(field))
        def attack(value: str) -> None:
            self.one(field, value)

        attack()

    def one(self, field: Field, value: str) -> None:
        """Refused in our words, or read back by the files' readers as one value in its place."""
        try:
            node, plan = self.labs.plan(changed(self.labs.labs[field.case], field, value))
        except LabError as error:
            assert error.hint or "hint" in str(error), f"{field.name} = {value!r}: no hint: {error}"
            self.counts["refused"] += 1
            return
        self.counts["accepted"] += 1
        self.accepted[field.name] += 1
        before = self.shapes(field.case)
        found = self._shapes(plan, node.release)
        if SHAPING.fullmatch(field.name):
            return
        if field.name.endswith(("guests[].name", "cards[]")):
            found, before = _named(found, value), _named(before, field.value)
        other = sorted(path for path in {*found, *before} if found.get(path) != before.get(path))
        assert other == [], f"{field.name} = {value!r} changed what these files say: {other}"

    @functools.cache  # noqa: B019 - an attack lives as long as its test
    def shapes(self, case: str) -> Mapping[str, Shape]:
        node, plan = self.labs.plan(self.labs.labs[case])
        return self._shapes(plan, node.release)

    def _shapes(self, plan: Any, release: str) -> Mapping[str, Shape]:
        return {path: shape(self.system, path, content, release) for path, content in files_of(plan)}


# Where files are called after what is in them: guests, and cards of NetBSD.
_CALLED = re.compile(
    r"(?P<where>.*/(?:etc/xen|auto|libxl|autostart|guests)/|.*/ifconfig\.)(?P<name>[^/.]+)(?P<rest>.*)"
)


def _named(shapes: Mapping[str, Shape], value: str) -> dict[str, Shape]:
    """Files that are called after the value are called the same."""
    named = {}
    for path, found in shapes.items():
        called = _CALLED.fullmatch(path)
        own = called is not None and called["name"] in (value, f"{value}-install")
        named[f"{called['where']}*{called['name'][len(value) :]}{called['rest']}" if called and own else path] = found
    return named


def values(field: Field) -> st.SearchStrategy[str]:
    """Hostile pieces in a right value, alone and in a row, any text, and what the setting's own form lets through."""
    piece = st.sampled_from(PIECES)
    at = st.integers(0, len(field.value))
    inside = st.builds(lambda where, what: field.value[:where] + what + field.value[where:], at, piece)
    alone = st.lists(piece, min_size=1, max_size=4).map("".join)
    kinds = [inside, inside, alone, st.text(max_size=40)]
    if field.pattern is not None:
        # $ lets a line end through, as some readers of patterns do
        right = st.from_regex(field.pattern).filter(lambda text: len(text) < LONGEST)
        kinds += [right, right, right]
    return st.one_of(kinds)
