"""Each kind of bad lab file is refused under its code, at its place, with a hint that says what to write instead."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from builder.errors import LabFileError
from builder.model import explain, units
from builder.model.layers import LabLayer
from builder.model.load import read_lab
from tests.support.bad_labs import CASES, Bad
from tests.support.lab_files import LIMITS, SYSTEMS, lab_of, marked, problems_of
from tests.support.repo import ROOT, some

# Words of the type library and of Python, which mean nothing to the person who wrote the file.
JARGON = re.compile(
    r"[Ii]nput should|valid (integer|string|boolean|dictionary|tuple|list)|validation|pydantic|NoneType|\bstr\b|\bint\b"
    r"|\bdict\b|\btuple\b|\bbool\b|<class|Traceback|Layer\b|\[type=|\bNone\b"
)


@pytest.mark.parametrize("bad", CASES, ids=[bad.name for bad in CASES])
def test_bad_lab_is_refused_at_its_place(bad: Bad) -> None:
    text = marked(bad.text)
    found = problems_of(text.text)
    told = [f"{p.line}:{p.column} {p.code}: {p.message} ({p.hint})" for p in found]
    named = [problem for problem in found if problem.code == bad.code]
    assert len(named) == 1, told
    assert bad.hint in named[0].hint, told
    if text.line:
        assert (named[0].line, named[0].column) == (text.line, text.column), told
    for problem in found:
        assert problem.hint and problem.message
        assert not JARGON.search(f"{problem.message} {problem.hint}"), told
        assert len(problem.message) < 400 and f"{problem.message}{problem.hint}".isprintable(), told


def test_one_mistake_is_one_problem() -> None:
    """A mistake is told once, and nothing that follows from it; networks and second mistakes of a case are left out."""
    follow = {"lab-unknown-network", "lab-raid-unknown-disk", "lab-raid-image"}
    several = {
        bad.name: [problem.code for problem in found]
        for bad in CASES
        if len(found := [p for p in problems_of(marked(bad.text).text) if p.code not in follow - {bad.code}]) != 1
    }
    assert several == {}


def test_every_code_has_its_case() -> None:
    """A code that the loader knows and no case shows would be a message that nobody has read."""
    used = {
        code
        for path in some((ROOT / "builder/model").glob("*.py"))
        for code in re.findall(r'"(lab-[a-z0-9-]+)"', path.read_text())
    }
    elsewhere = {
        "lab-file", "lab-file-size", "lab-encoding",  # of the file itself: test_lab_file.py
        "lab-host-memory", "lab-host-cpus", "lab-host-disk", "lab-unused-network",  # of the machine: test_limits.py
        "lab-depth", "lab-too-large", "lab-more",  # large files: test_document.py, test_lab_file.py
    }  # fmt: skip
    assert used - elsewhere == {bad.code for bad in CASES}


def patterns_in(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(part.get("pattern"), str):
            yield part["pattern"]
        yield from part.get("patternProperties", {})
    for inner in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        yield from patterns_in(inner)


def test_every_pattern_has_its_words() -> None:
    """A pattern without words would end in a traceback. Sizes, addresses and worded texts (a group around the whole)
    have validators that speak themselves."""
    own_words = {units.SIZE_PATTERN, units.MAC_PATTERN, units.ADDRESS_PATTERN}
    patterns = set(patterns_in(LabLayer.model_json_schema()))
    assert len(patterns) > 8
    assert {each for each in patterns - own_words if not each.startswith("^(?:")} <= set(explain._PATTERNS)


def test_all_problems_at_once_in_file_order() -> None:
    text = """\
name: T
networks:
  lan: {mtu: 70000}
nodes:
  a:
    system: host
    memry: 4GiB
  b:
    system: hots
  c:
    system: host
    memory: 512MiB
    networks: [lan, wan]
    after: [a, d]
"""
    assert [(p.line, p.code) for p in problems_of(text)] == [
        (1, "lab-name"),
        (3, "lab-bad-value"),
        (7, "lab-unknown-key"),
        (9, "lab-unknown-system"),
        (12, "lab-memory-minimum"),
        (13, "lab-unknown-network"),
        (14, "lab-after-unknown"),
    ]


def test_error_reads_like_a_compiler(tmp_path: Path) -> None:
    lab = tmp_path / "x.yaml"
    lab.write_text("name: t\nnodes:\n  a:\n    system: host\n    memory: 4GB\n")
    with pytest.raises(LabFileError) as caught:
        read_lab(lab, SYSTEMS)
    assert str(caught.value) == (f"{lab}:5:13: memory: unknown unit 'GB' in '4GB' [lab-size]\n  hint: write 4GiB")
    assert caught.value.exit_code == 2


def test_duplicates_name_both_places() -> None:
    found = problems_of("name: t\nnodes:\n  a: {system: host}\n  a: {system: host}\n")
    assert "two nodes are called 'a'; the first is at line 3, column 3" in found[0].message
    mac = "{system: host, networks: [{network: l, mac: '52:54:00:00:00:01'}]}"
    found = problems_of(f"name: t\nnetworks: {{l: {{}}}}\nnodes:\n  a: {mac}\n  b: {mac}\n")
    assert "card 1 of node 'a' (line 4, column 50)" in found[0].message
    assert "node 'b'" in found[0].message


def test_names_of_wrong_nodes_and_networks_stay_known() -> None:
    """Waiting for a node that is wrong in itself, or being on such a network, is no second problem."""
    text = "name: t\nnetworks: {l: {mtu: 1}}\ndefaults: {system: host}\n"
    text += "nodes: {a: {cpus: x}, b: {after: [a], networks: [l]}}\n"
    assert [problem.code for problem in problems_of(text)] == ["lab-bad-value", "lab-wrong-type"]


def test_a_wrong_default_is_told_once_and_hides_nothing_of_the_types() -> None:
    text = "name: t\ndefaults: {system: host, cpus: many}\nnodes: {a: {memory: 4GB}, b: {}}\n"
    assert [problem.code for problem in problems_of(text)] == ["lab-wrong-type", "lab-size"]


def test_hidden_text_does_not_reach_the_terminal() -> None:
    found = problems_of('name: "\\e[31mred"\nnodes: {a: {system: host}}\n')
    assert found and all("\x1b" not in f"{p.message}{p.hint}" for p in found)


def test_a_lab_that_is_right_has_no_problems() -> None:
    assert problems_of("name: t\nnodes: {a: {system: host}}\n", limits=LIMITS) == ()
    assert lab_of("name: t\nnodes: {a: {system: host}}\n").node("a").system == "host"
