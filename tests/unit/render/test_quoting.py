"""Each quoting rule, read back by the program it is for where that program is a shell."""

from __future__ import annotations

import subprocess

import pytest

from builder.errors import LabError
from builder.render.quoting import comment, grub_words, shell, shell_double, xl_string

HARD = ["plain", "a b", "$HOME", "`id`", '"', "'", "\\", "a\\\\b", "!x", "*", "~", "#", "$(id)", "é"]


@pytest.mark.parametrize("value", HARD)
def test_shell_words_come_back_unchanged(value: str) -> None:
    assert _sh(f"printf %s {shell(value)}") == value


@pytest.mark.parametrize("value", HARD)
def test_double_quoted_values_come_back_unchanged(value: str) -> None:
    assert _sh(f'NAME="{shell_double(value)}"; printf %s "$NAME"') == value


def test_a_line_break_between_double_quotes_is_refused() -> None:
    with pytest.raises(LabError, match="line break"):
        shell_double("a\nb")


def test_grub_words_escape_what_its_script_reader_takes_apart() -> None:
    assert grub_words(["dom0_mem=1024M,max:1024M", "a={b};c", "hide=(0000:03:00.0)"]) == (
        r"dom0_mem=1024M,max:1024M a=\{b\}\;c hide=(0000:03:00.0)"
    )


@pytest.mark.parametrize("argument", ["", "a b", "a\tb"])
def test_grub_cannot_pass_spaces_on(argument: str) -> None:
    with pytest.raises(LabError, match="GRUB"):
        grub_words([argument])


def test_xl_strings_have_quotes_and_no_escapes() -> None:
    assert xl_string(r"file:/a b\c'd") == '"file:/a b\\c\'d"'
    for bad in ('a"b', "a\nb"):
        with pytest.raises(LabError, match="xl configuration"):
            xl_string(bad)


def test_comments_prefix_every_line() -> None:
    assert comment("a\n\nb") == "# a\n#\n# b"


def _sh(script: str) -> str:
    return subprocess.run(["sh", "-c", script], check=True, capture_output=True, text=True).stdout
