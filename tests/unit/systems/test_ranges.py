"""Each code says which releases it holds for: no judge finds it in another one, and one that holds for some releases
only is found in all of these. Every wrong thing of the judges' own tests is tried on every release."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import pytest

from builder.model.plan import Finding
from builder.systems.code import Code
from builder.systems.debian.judge import CODES as DEBIAN
from builder.systems.debian.judge import judge_preseed
from builder.systems.rhel.judge import CODES as RHEL
from builder.systems.rhel.judge import judge_arguments as judge_rhel_arguments
from builder.systems.rhel.judge import judge_kickstart
from builder.systems.suse.judge import CODES as SUSE
from builder.systems.suse.judge import judge_agama, judge_autoyast
from builder.systems.suse.judge import judge_arguments as judge_suse_arguments
from builder.systems.xcpng.judge import CODES as XCPNG
from builder.systems.xcpng.judge import judge_answers
from builder.systems.xcpng.judge import judge_arguments as judge_xcpng_arguments
from tests.support import debian, suse, suse_right, xcpng
from tests.unit.systems import (
    test_debian_judge,
    test_rhel_judge,
    test_suse_judge,
    test_suse_judge_agama,
    test_xcpng_judge,
)

ARGUMENTS = (
    (),
    ("ks=http://x/ks.cfg", "inst.ks=http://x/ks.cfg", "console=tty0"),
    ("autoyast=http://x/y.xml", "inst.auto=http://x/y.json", "inst.finish=reboot"),
    ("answerfile=tftp://x/a.xml", "no-gpgcheck", "netdevice=eth0", "network_device=all", "dom0_mem=1G"),
)


def stated(releases: str, known: Sequence[str]) -> set[str]:
    """The releases that a row of the table names; `known` are the system's, the oldest first."""
    if releases == "all":
        return set(known)
    first, later, _ = releases.partition(" and later")
    named = set(known[known.index(first) :]) if later else {name.strip() for name in releases.split(",")}
    assert named <= set(known), releases
    return named


def of_debian() -> Iterator[tuple[str, tuple[Finding, ...]]]:
    for release in debian.RELEASES:
        for right, _, old, new, _ in test_debian_judge.ALL:
            yield release, judge_preseed(right.replace(old, new), release, test_debian_judge.machine(sectors="5555"))


def of_rhel() -> Iterator[tuple[str, tuple[Finding, ...]]]:
    for release in test_rhel_judge.RELEASES:
        right = test_rhel_judge.right(release)
        for _, _, old, new, _ in test_rhel_judge.CHANGES:
            for firmware in ("bios", "uefi"):
                yield release, judge_kickstart(right.replace(old, new), release, test_rhel_judge.machine(firmware))
        for words in ARGUMENTS:
            yield release, judge_rhel_arguments(words, release)


def of_suse() -> Iterator[tuple[str, tuple[Finding, ...]]]:
    for release in suse.YAST:
        for _, old, new, _ in test_suse_judge.CHANGES:
            yield release, judge_autoyast(suse_right.RIGHT.replace(old, new, 1), release, suse_right.machine())
    for release in suse.AGAMA:
        for _, path, value, _ in test_suse_judge_agama.AGAMA_CHANGES:
            text = test_suse_judge_agama.changed(path, value)
            yield release, judge_agama(text, release, suse_right.machine())
    for release in suse.RELEASES:
        for words in ARGUMENTS:
            yield release, judge_suse_arguments(words, release)


def of_xcpng() -> Iterator[tuple[str, tuple[Finding, ...]]]:
    for release in xcpng.RELEASES:
        right = test_xcpng_judge.right(release)
        for _, _, old, new, _ in test_xcpng_judge.CHANGES:
            yield release, judge_answers(right.replace(old, new, 1), release, test_xcpng_judge.machine())
        # A source of the time is no element of 8.2; there the same words are another mistake.
        text = test_xcpng_judge.RIGHT_RAID.replace('guest-storage="no"', 'guest-storage="yes"')
        yield release, judge_answers(text, release, test_xcpng_judge.machine(sectors=(4096, 512, 4096)))
        for words in ARGUMENTS:
            yield release, judge_xcpng_arguments(("com1=115200",), words, release, right)


FOUND = {
    "debian": (DEBIAN, debian.RELEASES, of_debian),
    "rhel": (RHEL, test_rhel_judge.RELEASES, of_rhel),
    "suse": (SUSE, suse.RELEASES, of_suse),
    "xcpng": (XCPNG, xcpng.RELEASES, of_xcpng),
}


def against(
    codes: Mapping[str, Code], known: Sequence[str], found: Iterable[tuple[str, tuple[Finding, ...]]]
) -> Iterator[str]:
    pairs = {(finding.code, release) for release, findings in found for finding in findings}
    for code in sorted({code for code, _ in pairs}):
        holds = stated(codes[code].releases, known)
        yield from (f"{code} in {release}" for of, release in pairs if of == code and release not in holds)
        if len(holds) < len(known):
            yield from (f"{code} not in {release}" for release in holds if (code, release) not in pairs)


@pytest.mark.parametrize("system", FOUND)
def test_codes_hold_where_they_say(system: str) -> None:
    codes, known, found = FOUND[system]
    assert list(against(codes, known, found())) == []


@pytest.mark.parametrize("system", FOUND)
def test_every_range_can_be_read(system: str) -> None:
    codes, known, _ = FOUND[system]
    assert all(stated(row.releases, known) for row in codes.values())
