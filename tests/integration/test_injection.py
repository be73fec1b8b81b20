"""Hostile values in every text of every system's lab files: refused in our words, or inert in the eyes of the programs
that read what is made. A few of each here; `bash ci/nightly.sh injection` goes on with thousands."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.systems import traits
from tests.support.attack import Attack
from tests.support.readers import Unread, of_preseed, of_shell, of_xl, of_xml, shape

pytestmark = pytest.mark.integration
SYSTEMS = tuple(traits())
EXAMPLES = 90

# Texts that no lab of one node has, that are short for another that it has, or that name what is there or are refused:
# the bad labs of the unit tests try those.
ELSEWHERE = {
    "nodes.*.after[]": "names of other nodes",
    "nodes.*.networks[]": "short for {network: NAME}",
    "nodes.*.source.sha256": "64 hexadecimal digits, held against the medium and written nowhere",
    "nodes.*.storage.iscsi[]": "names of the node's disks",
    "nodes.*.storage.nfs[]": "folders of letters, digits, dots, hyphens and underscores",
}


@pytest.fixture(scope="module")
def attacks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Attack]:
    return {system: Attack(system, tmp_path_factory.mktemp(system)) for system in SYSTEMS}


@pytest.mark.parametrize("system", SYSTEMS)
def test_hostile_values_are_refused_or_inert(system: str, attacks: dict[str, Attack]) -> None:
    attacks[system].run(EXAMPLES, same=True)
    counts = attacks[system].counts
    assert counts["refused"] > EXAMPLES // 4
    assert counts["accepted"] > EXAMPLES // 20


@pytest.mark.parametrize("system", SYSTEMS)
def test_every_text_for_an_installer_is_reached(system: str, attacks: dict[str, Attack]) -> None:
    assert [name for name in sorted(attacks[system].labs.unreached()) if ".install." in name] == []


def test_every_text_is_reached_somewhere(attacks: dict[str, Attack]) -> None:
    unreached = set.intersection(*(attack.labs.unreached() for attack in attacks.values()))
    assert unreached == set(ELSEWHERE)


@pytest.mark.parametrize("system", SYSTEMS)
def test_every_file_has_a_reader(system: str, attacks: dict[str, Attack]) -> None:
    assert attacks[system].labs.labs
    for case in attacks[system].labs.labs:
        assert attacks[system].shapes(case) is not None


def test_a_value_that_breaks_out_is_seen() -> None:
    """Each reader sees what a value without its quotes would do."""
    assert of_shell("name=a\n", "") != of_shell("name=a; id\n", "")
    assert of_shell("echo 'a;id'\n", "") == of_shell("echo b\n", "")
    assert of_xml("<a>x</a>", "") != of_xml("<a>x<b/></a>", "")
    with pytest.raises(Unread):
        of_xml("<a>x</a></a>", "")
    one = "d-i mirror/http/proxy string a\n"
    assert of_preseed(one, "") != of_preseed(one + "d-i time/zone string b\n", "")
    assert of_xl('name = "a"\n', "") != of_xl('name = "a"\nmemory = 1\n', "")
    with pytest.raises(Unread):
        of_xl('name = "a" b"\n', "")
    with pytest.raises(KeyError, match="no reader"):
        shape("rhel", "/answers/unheard-of", "", "el9")


def test_a_hostile_key_reaches_the_readers(tmp_path: Path) -> None:
    """The comment of a key takes nearly anything: it must come through quoting, not through being refused."""
    attack = Attack("xcpng", tmp_path)
    (field,) = (field for field in attack.labs.fields if field.name.endswith("install.root_keys[]"))
    attack.one(field, f"ssh-ed25519 {'A' * 60} ]]>'\"`id` $(id) ; # & <x> \\ %s")
    assert attack.counts["accepted"] == 1
