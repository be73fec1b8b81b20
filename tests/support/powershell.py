"""PowerShell's rules for literal strings, restated: a tokenizer of its own that looks only for what a value could break
out of. It is no grammar: that there are commands of these names, and that they take these parameters, it cannot tell.

A single-quoted string ends at the next single quote, of which PowerShell knows five, and two of them stand for one
(about_Quoting_Rules; the language specification's verbatim-string-literal)."""

from __future__ import annotations

QUOTES = "'\u2018\u2019\u201a\u201b"
OPENING, CLOSING = "({[", ")}]"


def literals(text: str) -> tuple[list[str], str]:
    """The values of all literal strings, and the rest of the script with '' in their places.

    Raises AssertionError for a string or bracket left open.
    """
    values: list[str] = []
    rest: list[str] = []
    at = 0
    while at < len(text):
        character = text[at]
        if character == "#":
            end = text.find("\n", at)
            at = len(text) if end < 0 else end
        elif character in QUOTES:
            value, at = _literal(text, at + 1)
            values.append(value)
            rest.append("''")
        elif character == '"':
            end = text.index('"', at + 1)
            rest.append(text[at : end + 1])
            at = end + 1
        else:
            rest.append(character)
            at += 1
    _balanced("".join(rest))
    return values, "".join(rest)


def _literal(text: str, at: int) -> tuple[str, int]:
    value: list[str] = []
    while at < len(text):
        if text[at] not in QUOTES:
            value.append(text[at])
            at += 1
        elif at + 1 < len(text) and text[at + 1] in QUOTES:
            value.append(text[at + 1])
            at += 2
        else:
            return "".join(value), at + 1
    raise AssertionError("a literal string is left open")


def _balanced(text: str) -> None:
    open_ones: list[str] = []
    for character in text:
        if character in OPENING:
            open_ones.append(CLOSING[OPENING.index(character)])
        elif character in CLOSING:
            assert open_ones and open_ones.pop() == character, f"{character} closes nothing"
    assert not open_ones, f"{open_ones[-1]} is missing"
