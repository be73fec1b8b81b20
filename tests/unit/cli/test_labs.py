"""LAB: a path or a name; what the verbs that take one say when it is neither."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.cli.boundary import guarded
from builder.cli.labs import existing, is_file_argument, lab_id
from builder.errors import UsageError
from builder.paths import data_dir


@pytest.fixture
def private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place where nestlab's own folders are."""
    for name in ("STATE", "RUNTIME", "CACHE"):
        monkeypatch.setenv(f"NESTLAB_{name}", str(tmp_path / name))
    return tmp_path


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
    assert "nestlab ls" in (refused.value.hint or "") and str(data_dir("labs")) in (refused.value.hint or "")


@pytest.mark.parametrize("text", ["", ".", "..", "-", "Lab", "a b", "demo.json", "x" * 33])
def test_what_is_no_name_names_no_folder(text: str, private: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`nestlab down "$LAB"` with LAB unset, or `..`, would else take the folder of all labs away."""
    precious = private / "STATE" / "labs" / "other" / "lock"
    precious.parent.mkdir(parents=True)
    precious.touch()
    for verb in ("down", "status", "plan", "test"):
        assert guarded([verb, "--", text]) == 2
        assert f"{text!r} is neither a lab file nor the name of a lab" in capsys.readouterr().err
    assert precious.exists()


@pytest.mark.usefixtures("private")
@pytest.mark.parametrize(
    "verb", [["status"], ["test"], ["net"], ["disk"], ["console"], ["procedure", "drill", "--all"]]
)
def test_the_way_to_a_lab_that_is_not_up_is_told(verb: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    file = str(data_dir("labs") / "tiny.yaml")
    assert guarded([*verb, file]) == 1
    assert capsys.readouterr().err == f"error: lab tiny is not up\n  hint: nestlab up {file}\n"
    assert guarded([*verb, "tiny"]) == 1
    assert capsys.readouterr().err == "error: lab tiny is not up\n  hint: `nestlab ls` lists the labs that are\n"


@pytest.mark.usefixtures("private")
@pytest.mark.parametrize(("verb", "said"), [("ls", "no lab is up"), ("reap", "nothing was left behind")])
def test_nothing_is_said_to_people_alone(verb: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    for words, out, err in (([verb], "", f"{said}\n"), (["-q", verb], "", ""), ([verb, "-o", "json"], "[]\n", "")):
        assert guarded(words) == 0
        assert capsys.readouterr() == (out, err)
