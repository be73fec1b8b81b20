"""What the YAML parser has to say, in words that tell what to change."""

from __future__ import annotations

import re
from collections.abc import Sequence

import yaml

from builder.errors import Problem

_MOST_TABS = 20

# libyaml's text: our code, what is wrong, what to do, and whether the place to look at is where it began.
_WORDS: tuple[tuple[str, str, str, str, bool], ...] = (
    (
        "mapping values are not allowed",
        "lab-yaml",
        "a ': ' stands where no value can follow",
        "line the key up with its neighbours, or put text that holds ': ' in quotes",
        False,
    ),
    (
        "could not find expected ':'",
        "lab-yaml",
        "this line is neither `key: value` nor `- item`",
        "is a ':' (with a space after it) missing?",
        True,
    ),
    (
        "did not find expected key",
        "lab-yaml",
        "this line does not line up with the keys around it",
        "indent it with exactly as many spaces as its neighbours",
        False,
    ),
    (
        "did not find expected '-'",
        "lab-yaml",
        "this line does not line up with the list around it",
        "each item begins with '- ' in the same column",
        False,
    ),
    (
        "did not find expected ',' or ']'",
        "lab-yaml",
        "the '[' that opens here is not closed, or a ',' is missing",
        "close the list with ']' and put ',' between items",
        True,
    ),
    (
        "did not find expected ',' or '}'",
        "lab-yaml",
        "the '{' that opens here is not closed, or a ',' is missing",
        "close the mapping with '}' and put ',' between entries",
        True,
    ),
    (
        "did not find expected node content",
        "lab-yaml",
        "a value is missing here",
        "remove the extra ',' or write the value",
        False,
    ),
    (
        "found unexpected ':'",
        "lab-yaml",
        "a ':' inside of { } or [ ] has no space after it",
        "put a space after it, or put text that holds ':' in quotes",
        False,
    ),
    (
        "found unexpected end of stream",
        "lab-yaml",
        "the quote that opens here is never closed",
        "close it with the same quote",
        True,
    ),
    (
        "found unknown escape character",
        "lab-yaml",
        "an unknown escape after '\\' in double quotes",
        "write '\\\\' for a backslash, or use single quotes",
        False,
    ),
    (
        "invalid Unicode character escape",
        "lab-yaml",
        "an escape that stands for no character",
        "write the character itself",
        False,
    ),
    (
        "cannot start any token",
        "lab-yaml",
        "a value cannot begin with this character",
        "put the value in quotes",
        False,
    ),
    (
        "block sequence entries are not allowed",
        "lab-yaml",
        "a list item cannot begin on the line of its key",
        "put '- ' on a line of its own, or write the list as [a, b]",
        False,
    ),
    (
        "did not find expected <document start>",
        "lab-yaml",
        "this line stands outside of everything before it",
        "begin all top-level keys in column 1, and remove brackets that close nothing",
        False,
    ),
    (
        "did not find expected alphabetic or numeric",
        "lab-yaml",
        "a name must follow '&' or '*'",
        "put the value in quotes if it is meant as text",
        True,
    ),
    ("ing a tag", "lab-tag", "tags are not used in lab files", "put the value in quotes", True),
    (
        "directive",
        "lab-yaml",
        "a line that begins with '%' is an instruction to YAML, and this one is unknown",
        "remove it",
        True,
    ),
)
_UNKNOWN = ("", "lab-yaml", "this is not YAML that can be read", "compare it with the examples in labs/", False)


def in_plain_words(error: yaml.YAMLError, text: str) -> Sequence[Problem]:
    """The findings behind a parser's error: every tab used as indentation, or the one place it stopped at."""
    mark = getattr(error, "problem_mark", None)
    began = getattr(error, "context_mark", None)
    said = f"{getattr(error, 'context', None) or ''} {getattr(error, 'problem', None) or ''}"
    if mark is not None and ("tab character" in said or text[mark.index : mark.index + 1] == "\t"):
        return _tabs(text) or (_tab(mark.line + 1, mark.column + 1),)
    row = next((row for row in _WORDS if row[0] in said), _UNKNOWN)
    _, code, message, hint, at_begin = row
    where = began if at_begin and began is not None else mark
    if where is None:
        line, column = 1, 1
    elif where.index >= len(text):
        # The end of the file is reported as a line after the last one; the last thing that stands there is of more use.
        rest = text.rstrip()
        line, column = rest.count("\n") + 1, max(len(rest) - rest.rfind("\n") - 1, 1)
    else:
        line, column = where.line + 1, where.column + 1
    return (Problem(code, message, hint, line=line, column=column),)


def _tabs(text: str) -> Sequence[Problem]:
    return tuple(
        _tab(number, line.index("\t") + 1)
        for number, line in enumerate(text.splitlines(), 1)
        if re.match(r" *\t", line)
    )[:_MOST_TABS]


def _tab(line: int, column: int) -> Problem:
    hint = "use spaces, two for each level"
    return Problem("lab-tab", "a tab is used as indentation", hint, line=line, column=column)
