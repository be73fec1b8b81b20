"""What the systems make of the shipped labs, word for word: a changed template shows as a diff of a golden file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from builder.model.lab import Node
from builder.model.load import read_lab
from builder.model.plan import SystemPlan
from builder.paths import data_dir
from builder.systems import load_system, traits
from tests.support.repo import ROOT, some

LABS = some(sorted(data_dir("labs").glob("*.yaml")))


def files_of(plan: SystemPlan) -> Iterator[tuple[str, str]]:
    """Path below the node's golden folder, and content, of everything that the plan decides."""
    image = plan.recipe.files if plan.recipe else ()
    for part, files in (("image", image), ("seed", plan.seed)):
        for file in files:
            yield f"{part}{file.path}", file.content
    for answer in plan.answers:
        yield f"answers/{answer.name}", answer.content
    shown = plan.model_dump(mode="json")
    for answer in shown["answers"]:
        del answer["content"]
    for files in (shown["seed"], (shown["recipe"] or {}).get("files", [])):
        for file in files:
            del file["content"]
            file["mode"] = oct(file["mode"])
    # What it is watched by has nothing to do with what comes of it: proofs do not depend on it.
    yield "boots.json", json.dumps(shown.pop("boots"), indent=1) + "\n"
    yield "plan.json", json.dumps(shown, indent=1) + "\n"


def nodes() -> Iterator[tuple[str, Node]]:
    for path in LABS:
        for node in read_lab(path, traits()).nodes:
            yield f"{path.stem}/{node.name}", node


@pytest.mark.parametrize("path", LABS, ids=lambda path: path.stem)
def test_the_shipped_labs_make_what_they_made(path: Path, golden: Callable[[str, str], None]) -> None:
    for node in some(read_lab(path, traits()).nodes):
        for name, text in some(files_of(load_system(node.system).plan(node))):
            golden(f"systems/{path.stem}/{node.name}/{name}", text)


def test_no_golden_file_is_left_of_what_is_made_no_more() -> None:
    made = {
        f"tests/golden/systems/{where}/{name}"
        for where, node in nodes()
        for name, _ in files_of(load_system(node.system).plan(node))
    }
    kept = {str(path.relative_to(ROOT)) for path in (ROOT / "tests/golden/systems").rglob("*") if path.is_file()}
    assert kept == made
