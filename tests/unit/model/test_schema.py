"""The JSON Schema, judged by jsonschema: it is valid, takes good labs and refuses bad ones."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # ships no types
import pytest

from builder.model.document import read_document
from builder.model.schema import DIALECT, json_schema
from builder.systems import traits
from tests.support.bad_labs import CASES, Bad
from tests.support.lab_files import SYSTEMS, marked, problems_of
from tests.support.repo import ROOT, some

LABS = some(sorted((ROOT / "labs").glob("*.yaml")))


def judge(systems: Any) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(json_schema(systems))


def as_editors_see_it(text: str) -> Any:
    """The lab file as JSON data: an editor reads YAML 1.2 and knows nothing of how a number was written."""
    return json.loads(json.dumps(read_document(text).root))


def properties(part: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every key of the schema with what is said about it."""
    if isinstance(part, dict):
        for name, field in part.get("properties", {}).items() if isinstance(part.get("properties"), dict) else ():
            yield f"{path}.{name}", field
        for key, inner in part.items():
            if key not in ("if", "then", "not"):
                yield from properties(inner, f"{path}.{key}")
    elif isinstance(part, list):
        for inner in part:
            yield from properties(inner, path)


def test_schema_is_a_schema() -> None:
    schema = json_schema(SYSTEMS)
    assert schema["$schema"] == DIALECT
    jsonschema.Draft202012Validator.check_schema(schema)
    judge(SYSTEMS).validate({"name": "t", "nodes": {"a": {"system": "host"}}})


def test_schema_is_the_same_each_time() -> None:
    assert json.dumps(json_schema(SYSTEMS)) == json.dumps(json_schema(dict(SYSTEMS)))


def test_every_key_is_described() -> None:
    fields = dict(properties(json_schema(SYSTEMS)))
    assert len(fields) > 40
    assert [name for name, field in fields.items() if not field.get("description")] == []


def test_schema_has_nothing_of_the_library() -> None:
    text = json.dumps(json_schema(SYSTEMS))
    assert '"null"}], "default": null' not in text and "patternProperties" not in text
    assert '"default": null' not in text


def test_own_example_is_valid() -> None:
    (example,) = json_schema(traits())["examples"]
    assert [error.message for error in judge(traits()).iter_errors(example)] == []
    assert problems_of(json.dumps(example).replace('"debian"', '"host"')) == ()


@pytest.mark.parametrize("lab", LABS, ids=[lab.stem for lab in LABS])
def test_shipped_labs_are_valid(lab: Any) -> None:
    found = [f"{list(e.path)}: {e.message}" for e in judge(traits()).iter_errors(as_editors_see_it(lab.read_text()))]
    assert found == []


@pytest.mark.parametrize("bad", [bad for bad in CASES if bad.structural], ids=lambda bad: bad.name)
def test_structural_mistakes_are_refused_by_the_schema_as_well(bad: Bad) -> None:
    data = as_editors_see_it(marked(bad.text).text)
    assert list(judge(SYSTEMS).iter_errors(data)), data


@pytest.mark.parametrize("release", ["8.10", "'8.10'", "8.1", "9", "'9'"])
def test_release_as_number_and_as_text(release: str) -> None:
    data = as_editors_see_it(f"name: t\nnodes: {{a: {{system: host, release: {release}}}}}\n")
    assert list(judge(SYSTEMS).iter_errors(data)) == []


def test_release_of_another_system_is_refused() -> None:
    data = {"name": "t", "nodes": {"a": {"system": "small", "release": 9}}}
    best = jsonschema.exceptions.best_match(judge(SYSTEMS).iter_errors(data))
    assert best is not None and best.message == "9 is not one of ['1', 1, '2', 2]"


def test_nodes_and_networks_may_be_empty() -> None:
    data = {"name": "t", "defaults": {"system": "host"}, "networks": {"l": None}, "nodes": {"a": None}}
    assert list(judge(SYSTEMS).iter_errors(data)) == []
    assert problems_of(json.dumps(data)) == ()


def test_written_schema_is_up_to_date() -> None:
    written = (ROOT / "labs/lab.schema.json").read_text()
    assert written == json.dumps(json_schema(traits()), indent=2) + "\n", "bash ci/generate.sh writes it"
