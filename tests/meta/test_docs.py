"""What the documents tell people to type exists and works.

Blocks marked `console` hold commands after `$ `. Those that need nothing but the program are run here; each of the
others is run by a test of a running lab or is a script of `ci/`. Lab files shown in `yaml` blocks are valid.
"""

from __future__ import annotations

import ast
import importlib
import itertools
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import pytest

from builder.cli.frame import load
from builder.cli.verbs import VERBS, Verb
from ci import generate
from tests.support.repo import ROOT, project_files, sources

FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

# Verbs that need no running lab. What they are shown with in the documents is run as it is, with empty private folders.
ALONE = {
    "validate", "schema", "explain", "systems", "settings", "plan", "render", "ls", "completion",
    "image ls", "image prune",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Shown:
    """A command in a document, as words."""

    file: str
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.file}: {shlex.join(self.words)}"


def blocks(kind: str) -> Iterator[tuple[str, str]]:
    for path in project_files():
        if path.suffix == ".md":
            for found, text in FENCE.findall(path.read_text("utf-8")):
                if found == kind:
                    yield path.name, text


def commands() -> list[Shown]:
    return [
        Shown(file, tuple(shlex.split(line[2:])))
        for file, text in blocks("console")
        for line in text.splitlines()
        if line.startswith("$ ")
    ]


def of_nestlab() -> list[Shown]:
    return [shown for shown in commands() if shown.words[0].rpartition("/")[2] == "nestlab"]


def find_verb(words: tuple[str, ...]) -> tuple[str, Verb, tuple[str, ...]]:
    """Full name, verb and what follows it. Fails for a verb that does not exist."""
    known = {verb.name: verb for verb in VERBS}
    assert words[1] in known, f"there is no verb {words[1]}"
    verb = known[words[1]]
    if not verb.children:
        return verb.name, verb, words[2:]
    child = {child.name: child for child in verb.children}[words[2]]
    return f"{verb.name} {child.name}", child, words[3:]


def test_there_are_commands_to_check() -> None:
    assert len(of_nestlab()) > 12
    assert len(commands()) > len(of_nestlab())


@pytest.mark.parametrize("shown", of_nestlab(), ids=str)
def test_verbs_and_options_exist(shown: Shown) -> None:
    _, verb, rest = find_verb(shown.words)
    own = rest[: rest.index("--")] if "--" in rest else rest
    command = load(verb)
    inner = command.commands if isinstance(command, click.Group) else {}
    taken = [*command.params, *(p for word in own if word in inner for p in inner[word].params)]
    options = {name for parameter in taken for name in (*parameter.opts, *parameter.secondary_opts)}
    unknown = [word for word in own if word.startswith("-") and word.partition("=")[0] not in options | {"--help"}]
    assert unknown == []


@pytest.mark.parametrize("shown", commands(), ids=str)
def test_named_files_exist(shown: Shown) -> None:
    own = shown.words[: shown.words.index("--")] if "--" in shown.words else shown.words
    files = [word for word in own if word.startswith(("labs/", "ci/", "tests/", "builder/"))]
    assert [name for name in files if not (ROOT / name).is_file()] == []


@pytest.mark.parametrize("shown", commands(), ids=str)
def test_only_known_programs_are_shown(shown: Shown) -> None:
    if shown.words[0] == "bash":
        assert shown.words[1].startswith("ci/")
    else:
        assert shown in of_nestlab()


@pytest.mark.parametrize("shown", [s for s in of_nestlab() if find_verb(s.words)[0] in ALONE], ids=str)
def test_what_needs_no_lab_is_run(shown: Shown, tmp_path: Path) -> None:
    private = {name: str(tmp_path / name) for name in ("NESTLAB_STATE", "NESTLAB_CACHE", "NESTLAB_RUNTIME")}
    environment = {k: v for k, v in os.environ.items() if not k.startswith("NESTLAB_")} | private
    done = subprocess.run(
        [sys.executable, "-m", "builder", *shown.words[1:]],
        cwd=ROOT, env=environment, check=False, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_what_needs_a_lab_is_run_by_a_test_of_one() -> None:
    live = {find_verb(shown.words)[0] for shown in of_nestlab()} - ALONE
    run = {
        word
        for source in sources("tests")
        if source.path.parts[1] in {"integration", "e2e"} or source.path.parts[1:3] == ("unit", "cli")
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Call | ast.List | ast.Tuple)
        for word in _joined(node)
    }
    assert sorted(live - run) == []


def _joined(node: ast.Call | ast.List | ast.Tuple) -> Iterator[str]:
    """Leading texts of a call's arguments or of a list, alone and in pairs: `up`, `image prune`."""
    items = node.args if isinstance(node, ast.Call) else node.elts
    texts = [item.value for item in items if isinstance(item, ast.Constant) and isinstance(item.value, str)]
    yield from texts
    yield from (f"{first} {second}" for first, second in itertools.pairwise(texts))


def test_lab_files_that_are_shown_are_valid(tmp_path: Path) -> None:
    labs = [text for _, text in blocks("yaml") if re.search(r"^nodes:", text, re.MULTILINE)]
    assert labs
    for number, text in enumerate(labs):
        path = tmp_path / f"shown-{number}.yaml"
        path.write_text(text, "utf-8")
        done = subprocess.run(
            [sys.executable, "-m", "builder", "validate", "--no-limits", str(path)],
            cwd=ROOT, check=False, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr


def test_tests_that_are_shown_ask_for_what_there_is() -> None:
    shown = [ast.parse(text) for _, text in blocks("python")]
    assert shown
    fixtures = ast.parse((ROOT / "builder/pytest_plugin/fixtures.py").read_text("utf-8"))
    offered = {part.name for part in fixtures.body if isinstance(part, ast.FunctionDef) and part.decorator_list}
    for part in (part for tree in shown for part in tree.body):
        if isinstance(part, ast.FunctionDef):
            assert {argument.arg for argument in part.args.args} <= offered
        else:
            assert isinstance(part, ast.ImportFrom) and part.module
            assert [n.name for n in part.names if not hasattr(importlib.import_module(part.module), n.name)] == []


def test_variables_that_are_named_are_read() -> None:
    text = "".join((ROOT / name).read_text() for name in ("README.md", "CONTRIBUTING.md"))
    named = set(re.findall(r"\bNESTLAB_[A-Z_]+", text))
    read = "\n".join(path.read_text() for path in project_files() if path.suffix in {".py", ".sh"})
    automatic = {f"NESTLAB_{verb.name}_{_variable(option)}".upper() for verb in VERBS if not verb.children
                 for option in load(verb).params}  # fmt: skip
    assert named
    assert sorted(name for name in named if name not in automatic and name not in read) == []


def _variable(parameter: click.Parameter) -> str:
    return (parameter.name or "").replace("-", "_")


def test_generated_sections_and_files_are_up_to_date() -> None:
    assert generate.main(["--check"]) == 0


def test_a_missing_marker_is_an_error() -> None:
    with pytest.raises(ValueError, match="section 'verbs'"):
        generate.with_sections("no markers here", {"verbs": lambda: "table"})


def test_a_section_is_replaced_and_the_rest_is_kept() -> None:
    text = "before\n<!-- generated: x -->\nold\n<!-- end: x -->\nafter\n"
    made = generate.with_sections(text, {"x": lambda: r"new \1"})
    assert made == "before\n<!-- generated: x -->\n\nnew \\1\n\n<!-- end: x -->\nafter\n"
    assert generate.with_sections(made, {"x": lambda: r"new \1"}) == made
