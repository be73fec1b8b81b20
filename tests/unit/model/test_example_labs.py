"""The labs that ship: each is right, says what it is for, and fills in to what is kept in tests/golden/resolved."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from builder.model.load import load_lab
from builder.systems import traits
from tests.support.repo import ROOT, some

LABS = some(sorted((ROOT / "labs").glob("*.yaml")))
GOLDEN = ROOT / "tests/golden/resolved"

each_lab = pytest.mark.parametrize("lab", LABS, ids=[lab.stem for lab in LABS])


@each_lab
def test_lab_fills_in_as_before(lab: Path) -> None:
    """NESTLAB_GOLDEN=write writes the files anew; look at what changed before committing it."""
    golden = GOLDEN / f"{lab.stem}.json"
    loaded = load_lab(lab, traits())
    text = json.dumps(loaded.lab.model_dump(mode="json", exclude_defaults=True), indent=2) + "\n"
    text = text.replace(f"{ROOT}/", "")  # the path of a medium is made absolute
    if os.environ.get("NESTLAB_GOLDEN") == "write":
        golden.write_text(text)
    assert text == golden.read_text()
    assert loaded.notes == ()


@each_lab
def test_lab_is_called_like_its_file(lab: Path) -> None:
    """A version's dot is a dash in the name, which hosts are called by."""
    assert load_lab(lab, traits()).lab.name == lab.stem.replace(".", "-")


@each_lab
def test_lab_tells_editors_its_schema_and_readers_its_purpose(lab: Path) -> None:
    lines = lab.read_text().splitlines()
    key, schema = lines[0].split("$schema=")
    assert key == "# yaml-language-server: "
    assert (lab.parent / schema).is_file()
    comment = [line for line in lines[1:] if line.startswith("#")]
    assert sum(len(line) for line in comment) > 80
    assert load_lab(lab, traits()).lab.description


def test_golden_files_have_their_labs() -> None:
    assert {path.stem for path in GOLDEN.iterdir()} == {lab.stem for lab in LABS}


def test_two_tiny_nodes_share_a_trunk_with_large_frames() -> None:
    lab = load_lab(ROOT / "labs/two-tiny.yaml", traits()).lab
    a, b = (node.nics[0] for node in lab.nodes)
    assert (a.mtu, a.trunk, b.trunk) == (9000, (100,), (100,))
    assert {*a.addresses, *b.addresses} == {"10.0.0.1/24", "10.0.0.2/24"}
    assert (a.vlan_addresses[100], b.vlan_addresses[100]) == (("10.0.100.1/24",), ("10.0.100.2/24",))
