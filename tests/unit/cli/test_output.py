"""Results: the three forms, columns, and numbers for reading."""

from __future__ import annotations

import json

import pytest
import yaml

from builder.cli.output import bytes_text, columns, fields, left_text, show, span_text

VALUE = [{"lab": "grüße", "nodes": [1, 2], "no": None}]


def test_forms(capsys: pytest.CaptureFixture[str]) -> None:
    show(VALUE, "json", str)
    assert json.loads(capsys.readouterr().out) == VALUE
    show(VALUE, "yaml", str)
    said = capsys.readouterr().out
    assert yaml.safe_load(said) == VALUE
    assert "grüße" in said
    show(VALUE, "table", lambda: "for people")
    assert capsys.readouterr().out == "for people\n"


def test_data_has_its_secrets_blanked(capsys: pytest.CaptureFixture[str]) -> None:
    for how in ("json", "yaml"):
        show({"hash": "$6$salt$0123456789abcdef", "mirror": "http://u:p@mirror/"}, how, str)
        said = yaml.safe_load(capsys.readouterr().out)
        assert said == {"hash": "***", "mirror": "http://***@mirror/"}


def test_an_empty_table_prints_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    show([], "table", lambda: "")
    assert capsys.readouterr().out == ""


def test_columns_line_up_and_are_never_cut() -> None:
    wide = "x" * 300
    assert columns(["name", "n"], [["a", 1], [wide, 22]]).splitlines() == [
        "NAME" + " " * 298 + "N",
        "a" + " " * 301 + "1",
        wide + "  22",
    ]


def test_texts_go_on_below_on_a_narrow_terminal() -> None:
    rows = [["a.long.setting", "one|two", "What it means, in a few words."], ["b", "-", "-"]]
    assert columns(["setting", "takes", "meaning"], rows, width=43).splitlines() == [
        "SETTING         TAKES    MEANING",
        "a.long.setting  one|two  What it means, in",
        "                         a few words.",
        "b               -        -",
    ]
    assert columns(["setting", "takes", "meaning"], rows, width=200) == columns(["setting", "takes", "meaning"], rows)


def test_no_column_gets_too_narrow_to_be_read() -> None:
    lines = columns(["name", "said"], [["x" * 30, "word " * 20]], width=20).splitlines()
    assert max(map(len, lines)) == 30 + 2 + 14 and len(lines) > 5
    assert columns(["name", "said"], [["", ""]], width=20) == "NAME  SAID\n"


def test_fields() -> None:
    assert fields({"a": 1, "long": ""}) == "a     1\nlong"
    told = {"setting": "memory", "source": "https://example.org/a-long-address, a section of it"}
    assert fields(told, width=34).splitlines() == [
        "setting  memory",
        "source   https://example.org/a-long-address,",
        "         a section of it",
    ]
    assert fields({"a": ""}, width=34) == "a"


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1536, "1.5 KiB"),
        (817 << 20, "817 MiB"),
        (1 << 40, "1.0 TiB"),
        (5 << 50, "5120 TiB"),
    ],
)
def test_bytes(size: int, text: str) -> None:
    assert bytes_text(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.4, "59 s"), (200, "3 m 20 s"), (43140, "11 h 59 m"), (534600, "6 d 4 h"), (-5, "0 s")],
)
def test_spans(seconds: float, text: str) -> None:
    assert span_text(seconds) == text


def test_what_is_left_of_a_lease() -> None:
    assert left_text(0) == "never"
    assert left_text(160, now=100) == "in 1 m 0 s"
    assert left_text(40, now=100) == "1 m 0 s ago"
