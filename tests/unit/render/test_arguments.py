"""Argument lists keep every argument, in order, through every operation."""

from __future__ import annotations

import itertools

import pytest

from builder.errors import LabError
from builder.render.arguments import KernelArguments


def test_split_keeps_repeated_keys_in_order() -> None:
    arguments = KernelArguments.split("console=tty0 ro  console=hvc0 quiet")
    assert arguments.items == ("console=tty0", "ro", "console=hvc0", "quiet")
    assert arguments.values("console") == ("tty0", "hvc0")


def test_double_quotes_keep_spaces_together_as_the_kernel_reads_them() -> None:
    assert KernelArguments.split('a="b c" "d=e f" g').items == ("a=b c", "d=e f", "g")


def test_single_quotes_are_ordinary_characters() -> None:
    assert KernelArguments.split("a='b c'").items == ("a='b", "c'")


def test_an_open_quote_is_an_error() -> None:
    with pytest.raises(LabError, match="left open"):
        KernelArguments.split('dom0_mem=512M "quiet')


@pytest.mark.parametrize(
    "items",
    [
        (),
        ("ro",),
        ("a=b c", "d e", "f="),
        ("", "x"),
        ("init=/bin/sh", "--", "single"),
        ("xen-pciback.hide=(0000:03:00.0)(0000:04:00.1)", "a==b"),
    ],
)
def test_join_is_read_back_to_the_same_items(items: tuple[str, ...]) -> None:
    assert KernelArguments.split(KernelArguments(items).join()).items == items


def test_every_short_list_survives_the_round_trip() -> None:
    words = ("a", "a=1", "a=2 3", "b b", "c=", "'", "\\")
    for items in itertools.product(words, repeat=3):
        assert KernelArguments.split(KernelArguments(items).join()).items == items


@pytest.mark.parametrize("argument", ['a="b"', "a\nb", "a\r"])
def test_what_no_quoting_can_carry_is_refused(argument: str) -> None:
    with pytest.raises(LabError, match="cannot be passed"):
        KernelArguments((argument,)).join()


def test_with_adds_at_the_end_even_when_the_key_is_there() -> None:
    assert KernelArguments(("a=1",)).with_("a=2", "b").items == ("a=1", "a=2", "b")


def test_without_takes_every_argument_of_the_key_and_no_other() -> None:
    arguments = KernelArguments(("quiet", "console=tty0", "console=hvc0", "consoleblank=0"))
    assert arguments.without("console").items == ("quiet", "consoleblank=0")


def test_set_replaces_in_place_and_leaves_the_key_once() -> None:
    arguments = KernelArguments(("loglevel=3", "quiet", "loglevel=7"))
    assert arguments.set("loglevel", "6").items == ("loglevel=6", "quiet")
    assert arguments.set("debug").items == ("loglevel=3", "quiet", "loglevel=7", "debug")


def test_dashes_and_underscores_in_keys_are_the_same_but_not_in_values() -> None:
    arguments = KernelArguments(("xen-pciback.hide=(a-b)",))
    assert arguments.values("xen_pciback.hide") == ("(a-b)",)
    assert arguments.set("xen_pciback.hide", "(c)").items == ("xen_pciback.hide=(c)",)


def test_a_bare_word_has_no_value_and_an_empty_value_is_one() -> None:
    assert KernelArguments(("x", "x=")).values("x") == (None, "")
