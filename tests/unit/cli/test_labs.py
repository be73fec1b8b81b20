"""LAB: a path or a name; what the verbs that take one say when it is neither."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.cli.labs import existing, is_file_argument, lab_id
from builder.errors import UsageError
from builder.paths import data_dir


@pytest.mark.parametrize(
    ("text", "is_file"),
    [
        ("demo", False),
        ("demo.yaml", True),
        ("demo.yml", True),
        ("./demo", True),
        ("labs/demo", True),
        ("demo.json", False),
    ],
)
def test_what_looks_like_a_path(text: str, is_file: bool) -> None:
    assert is_file_argument(text) is is_file


@pytest.mark.parametrize(
    "text",
    ["name: demo\n", 'name: "demo"   # mine\nnodes: {a: {system: tiny}}\n', "nodes: [broken\nname:\tdemo\n",
     "description: a name: no\nname: demo\n"],
)  # fmt: skip
def test_the_name_in_a_file_is_found_even_when_the_file_is_broken(text: str, tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(text)
    assert lab_id(str(file)) == "demo"


def test_a_name_is_itself() -> None:
    assert lab_id("demo") == "demo"


@pytest.mark.parametrize("text", ["", "nodes: {}\n", "name: ../../etc\n", "  name: nested\n"])
def test_a_file_without_a_name_is_refused(text: str, tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(text)
    with pytest.raises(UsageError, match="has no `name:`"):
        lab_id(str(file))


def test_a_folder_cannot_be_a_lab(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        lab_id(f"{tmp_path}/")


def test_a_missing_file_is_looked_for_among_the_examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as refused:
        existing("labs/tiny.yaml")
    assert str(data_dir("labs") / "tiny.yaml") in (refused.value.hint or "")
    with pytest.raises(UsageError) as refused:
        existing("labs/no-such.yaml")
    assert "nestlab ls" in (refused.value.hint or "")
