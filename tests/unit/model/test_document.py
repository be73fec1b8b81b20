"""YAML with positions: what scalars mean, where things stand, and files made to fill the memory."""

from __future__ import annotations

import resource
from typing import Any

import pytest
import yaml

from builder.model.document import MAX_DEPTH, MAX_VALUES, Map, Seq, Unreadable, read_document
from builder.model.words import written
from tests.support.pace import assert_quick


def value_of(scalar: str) -> Any:
    return read_document(f"x: {scalar}\n").root["x"]


@pytest.mark.parametrize(
    "scalar",
    [
        "no",
        "yes",
        "on",
        "off",
        "y",
        "n",
        "22:10",
        "52:54:00:11:22:33",
        "1_000",
        "0b11",
        "2001-01-01",
        "=",
        "<<",
        "1.2.3",
    ],
)
def test_what_yaml_1_1_would_change_stays_text(scalar: str) -> None:
    assert value_of(scalar) == scalar
    assert type(value_of(scalar)) is str


@pytest.mark.parametrize(
    ("scalar", "value"),
    [
        ("true", True), ("False", False), ("TRUE", True), ("~", None), ("", None), ("Null", None),
        ("13", 13), ("-7", -7), ("+7", 7), ("010", 10), ("0o17", 15), ("0x1F", 31),
        ("8.10", 8.1), (".5", 0.5), ("1e3", 1000.0),
        ("'13'", "13"), ('"true"', "true"), ("!!str 13", "13"), ("''", ""),
    ],
)  # fmt: skip
def test_core_schema(scalar: str, value: object) -> None:
    assert value_of(scalar) == value
    assert isinstance(value_of(scalar), type(value))


@pytest.mark.parametrize("scalar", ["8.10", "8.1", "13", "010", "0x1F", "1e3", "+7", "true", "007.00", "9" * 350])
def test_numbers_keep_their_spelling(scalar: str) -> None:
    assert written(value_of(scalar)) == scalar


def test_keys_are_text() -> None:
    root = read_document("no: 1\non: 2\n1: 3\n1.0: 4\ntrue: 5\n").root
    assert list(root) == ["no", "on", "1", "1.0", "true"]


def test_agrees_with_the_other_reader_on_ordinary_files() -> None:
    """PyYAML's own constructor as judge, on what YAML 1.1 and 1.2 read alike."""
    text = "a: {b: [1, two, 'three', {c: null}], d: |\n    text\n     more\n  }\n".replace(
        "d: |\n    text\n     more\n  ", "d: x"
    )
    text += (
        "e: |\n  text\n   more\nf: >-\n  folded\n  text\n? g\n: &h [1, 2]\ni: *h\nj: 'a\n\n  b'\nk: \"a\\tb\\\n  c\"\n"
    )
    assert read_document(text).root == yaml.safe_load(text)


def test_positions_of_keys_and_values() -> None:
    document = read_document("a: 1\nb:\n  - x\n  - {c: é, d: 2}\n")
    assert document.position(("a",)) == (1, 4)
    assert document.position(("a",), key=True) == (1, 1)
    assert document.position(("b", 1, "d")) == (4, 15)
    assert document.position(("b", 1, "d"), key=True) == (4, 12)
    assert document.position(("b", 0)) == (3, 5)


def test_position_of_what_is_not_there_is_the_nearest_key() -> None:
    document = read_document("a: 1\nb:\n  c:\n    d: 2\n")
    assert document.position(("b", "c", "missing")) == (3, 3)
    assert document.position(("b", "missing", "deeper")) == (2, 1)
    assert document.position(("zzz",)) == (1, 1)
    assert document.has(("b", "c", "d")) and not document.has(("b", "c", "e")) and not document.has(("a", "x"))


def test_alias_is_the_same_value_and_points_to_where_it_was_written() -> None:
    document = read_document("a: &x {k: 1}\nb: *x\nc: &s text\nd: *s\n")
    assert document.root["b"] == {"k": 1} and document.root["d"] == "text"
    assert document.position(("b",)) == (2, 4)
    assert document.position(("b", "k")) == (1, 11)


def test_an_anchor_may_be_given_again() -> None:
    assert read_document("a: &x 1\nb: &x 2\nc: *x\n").root == {"a": 1, "b": 2, "c": 2}


def billion_laughs(levels: int = 9, width: int = 9) -> str:
    lines = ["a0: &a0 [lol, lol]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * width)}]" for n in range(1, levels)]
    return "\n".join(lines) + "\n"


def deep(opening: str) -> str:
    return opening * (3_000_000 // len(opening))


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("lab-too-large", billion_laughs()),
        ("lab-too-large", "a: &a [1, 2, 3]\nb:\n" + "  - *a\n" * 70_000),
        ("lab-too-large", "[" + "1," * 1_500_000),
        ("lab-depth", deep("[")),
        ("lab-depth", deep("{a: ")),
        ("lab-depth", deep("- ")),
        ("lab-yaml-key", deep("? ")),
        ("lab-alias-loop", "&a [*a, *a]"),
        ("lab-alias-loop", "x: &a {y: &b {z: [*b, *a]}}\n"),
    ],
)  # fmt: skip
def test_bombs_are_refused_quickly_and_in_little_memory(code: str, text: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with assert_quick(3), pytest.raises(Unreadable) as caught:
        read_document(text)
    assert caught.value.problems[-1].code == code
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 150_000  # KiB


def test_a_file_at_the_limit_is_read() -> None:
    depth = MAX_DEPTH - 1
    assert read_document("a: " + "[" * depth + "]" * depth).problems == ()
    count = MAX_VALUES - 2
    assert len(read_document("- 1\n" * count).root) == count


def test_containers_know_their_marks() -> None:
    root = read_document("a: [1, 2]\n").root
    assert isinstance(root, Map) and isinstance(root["a"], Seq)
    assert root.marks == {"a": ((1, 1), (1, 4))} and root["a"].marks == [(1, 5), (1, 8)]
