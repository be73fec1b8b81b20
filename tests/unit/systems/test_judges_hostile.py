"""Judges of answers read what users' templates make of them: whatever stands there, findings come out and no crash."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from builder.model.plan import Finding
from builder.systems.netbsd.judge import judge_host_files
from builder.systems.netbsd.judge import judge_script as judge_netbsd_script
from builder.systems.netbsd.system import Netbsd
from builder.systems.rhel.judge import judge_arguments as judge_rhel_arguments
from builder.systems.rhel.judge import judge_kickstart
from builder.systems.suse.judge import judge_agama, judge_autoyast
from builder.systems.suse.judge import judge_arguments as judge_suse_arguments
from builder.systems.xcpng.judge import judge_answers, judge_script
from builder.systems.xcpng.judge import judge_arguments as judge_xcpng_arguments
from tests.support.netbsd import CASES as NETBSD
from tests.support.rhel import CASES as RHEL
from tests.support.suse import CASES as SUSE
from tests.support.suse_right import AGAMA_RIGHT, machine
from tests.support.xcpng import CASES as XCPNG

ROUNDS = 400
_PIECES = (
    "", "\0", "\n", "'", '"', "--", "=", "%", "<", ">", "&", "#", ";", ":", "/", "0", "-1", "9" * 25, "é", "\u2028",
    "[", "]", "{", "}", "null", "\\", "%end", "raid", "/boot", "١", "²", "--size=", "1e9", "]]>", "<!--",
)  # fmt: skip
_VALUES: tuple[Any, ...] = (None, True, 1, -1, 1.5, "x", "", [], {}, [None], ["x", 1], {"a": 1})


def torn(text: str, chance: random.Random) -> str:
    """The text with one to four pieces cut out, put in, replaced or repeated."""
    for _ in range(chance.randint(1, 4)):
        start = chance.randrange(len(text) + 1)
        end = min(len(text), start + chance.randint(0, 30))
        kind, piece = chance.choice(("cut", "put", "put", "replace", "repeat")), chance.choice(_PIECES)
        middle = {"cut": "", "put": piece + text[start:end], "replace": piece, "repeat": text[start:end] * 2}[kind]
        text = text[:start] + middle + text[end:]
    return text


def exchanged(value: Any, chance: random.Random) -> Any:
    """The value with some of its parts replaced by something of another kind."""
    if chance.random() < 0.04:
        return chance.choice(_VALUES)
    if isinstance(value, dict):
        return {key: exchanged(inner, chance) for key, inner in value.items()}
    return [exchanged(inner, chance) for inner in value] if isinstance(value, list) else value


def netbsd_files() -> Mapping[str, str]:
    answers = Netbsd().plan(NETBSD[min(NETBSD)].node).answers
    start = "nestlab/host"
    return {each.name.removeprefix(start): each.content for each in answers if each.name.startswith(start)}


FILES = netbsd_files()
_WORDS = "ks=file:/x inst.text inst.auto=x autoyast=x rt_answerfile=x atexit=reboot console=ttyS0 network_device=all"
Judge = Callable[[random.Random], tuple[Finding, ...]]
JUDGES: Mapping[str, Judge] = {
    "kickstart of release 6": lambda r: judge_kickstart(torn(RHEL["el6-bios-raid10x4"].text, r), "el6", machine()),
    "kickstart": lambda r: judge_kickstart(torn(RHEL["el10-uefi-raid10x4"].text, r), "el10", machine("uefi")),
    "AutoYaST": lambda r: judge_autoyast(torn(SUSE["15.6-bios-raid10x4"].text, r), "15.6", machine()),
    "Agama, text": lambda r: judge_agama(torn(json.dumps(AGAMA_RIGHT), r), "16.0", machine()),
    "Agama, values": lambda r: judge_agama(json.dumps(exchanged(AGAMA_RIGHT, r)), "sles16", machine("uefi")),
    "answer file of 8.2": lambda r: judge_answers(torn(XCPNG["8.2-full"].text, r), "8.2", machine()),
    "answer file": lambda r: judge_answers(torn(XCPNG["8.3-raid"].text, r), "8.3", machine()),
    "script of a stage": lambda r: judge_script("x", torn("#!/usr/bin/env python\n", r), "8.3"),
    "NetBSD's files": lambda r: judge_host_files({path: torn(text, r) for path, text in FILES.items()}, machine()),
    "NetBSD's script": lambda r: judge_netbsd_script(torn("#!/bin/sh\nread x\nexit 1\nusermod -p '*' root\n", r)),
    "arguments of anaconda": lambda r: judge_rhel_arguments(torn(_WORDS, r).split(), "el9"),
    "arguments of SUSE": lambda r: judge_suse_arguments(torn(_WORDS, r).split(), "16.0"),
    "arguments of XCP-ng": lambda r: judge_xcpng_arguments(torn(_WORDS, r).split(), torn(_WORDS, r).split(), "8.2", ""),
}


@pytest.mark.parametrize("name", JUDGES)
def test_a_judge_finds_something_and_does_not_fall(name: str) -> None:
    """The seed is fixed: what was found once is found again."""
    chance = random.Random(name)
    found = [JUDGES[name](chance) for _ in range(ROUNDS)]
    assert sum(map(bool, found)) > ROUNDS // 10
    assert all(each.code and each.message and each.where for findings in found for each in findings)
