"""The tests themselves: nothing that cannot fail, no error class that no test has seen."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator

from tests.support.repo import ROOT, Source, sources

LISTING = {"glob", "rglob", "iterdir"}


def error_classes() -> dict[str, str]:
    """Name and module of LabError and of every class below it."""
    bases = {
        node.name: ([ast.unparse(base).rpartition(".")[2] for base in node.bases], source.module)
        for source in sources("builder")
        for node in ast.walk(source.tree)
        if isinstance(node, ast.ClassDef)
    }
    known = {"LabError"}
    while grown := {name for name, (parents, _) in bases.items() if known & set(parents)} - known:
        known |= grown
    return {name: bases[name][1] for name in known}


def calls(source: Source, name: str) -> Iterator[ast.Call]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == name:
            yield node


def test_every_error_is_raised_in_some_test() -> None:
    classes = error_classes()
    assert len(classes) > 8
    awaited = {
        name.id if isinstance(name, ast.Name) else name.attr
        for source in sources("tests")
        for call in calls(source, "raises")
        for argument in call.args[:1]
        for name in ast.walk(argument)
        if isinstance(name, ast.Name | ast.Attribute)
    }
    assert {name: module for name, module in classes.items() if name not in awaited} == {}


def test_loops_over_files_cannot_be_empty() -> None:
    """`for path in folder.glob(...)` in a test passes when nothing is there: it has to go through `some`."""
    found = []
    for source in sources("tests"):
        for test in ast.walk(source.tree):
            if not isinstance(test, ast.FunctionDef) or not test.name.startswith("test_"):
                continue
            for loop in ast.walk(test):
                if isinstance(loop, ast.For) and _lists_files(loop.iter):
                    found.append(f"{source.path}:{loop.lineno}: {ast.unparse(loop.iter)}")
    assert found == []


def _lists_files(iterator: ast.expr) -> bool:
    if (
        isinstance(iterator, ast.Call)
        and isinstance(iterator.func, ast.Name)
        and iterator.func.id in {"sorted", "list"}
    ):
        return _lists_files(iterator.args[0])
    return isinstance(iterator, ast.Call) and isinstance(iterator.func, ast.Attribute) and iterator.func.attr in LISTING


def test_an_empty_list_of_cases_is_an_error() -> None:
    options = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    assert options["empty_parameter_set_mark"] == "fail_at_collect"


def test_no_test_is_skipped_for_want_of_a_tool() -> None:
    """Only a lab's own checks may skip; here a missing tool is a failure."""
    found = [
        f"{source.path}:{call.lineno}"
        for source in sources("tests")
        for name in ("skip", "skipif", "importorskip", "xfail")
        for call in calls(source, name)
        if ast.unparse(call.func).startswith("pytest.")
    ]
    assert found == []


def test_every_test_has_an_assertion() -> None:
    """An assert, an awaited exception, a program that must succeed (`check=True`), or a helper named as a check
    (`assert_...`, `check_...`, `judge_...`)."""
    found = [
        f"{source.path}:{node.lineno}: {node.name}"
        for source in sources("tests")
        for node in ast.walk(source.tree)
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_") and not _asserts(node)
    ]
    assert found == []


def _asserts(function: ast.FunctionDef) -> bool:
    for node in ast.walk(function):
        if isinstance(node, ast.Assert):
            return True
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func).rpartition(".")[2].lstrip("_")
            if name in {"raises", "fail", "some", "golden"} or name.startswith(("assert", "check", "judge", "expect")):
                return True
            if any(k.arg == "check" and ast.unparse(k.value) == "True" for k in node.keywords):
                return True
    return False


def test_integration_tests_are_marked() -> None:
    for folder, mark in (("integration", "(integration|e2e)"), ("e2e", "e2e")):
        modules = [s for s in sources("tests") if s.path.parts[1] == folder and s.path.name.startswith("test_")]
        assert modules
        marked = re.compile(rf"^pytestmark = .*\bpytest\.mark\.{mark}\b", re.MULTILINE)
        unmarked = [str(s.path) for s in modules if not marked.search(s.text)]
        assert unmarked == []


def test_entry_points_can_be_imported() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    points = {**project["scripts"], **project.get("entry-points", {}).get("pytest11", {})}
    assert points
    for target in points.values():
        module, _, name = target.partition(":")
        loaded = __import__(module, fromlist=["_"])
        assert not name or callable(getattr(loaded, name))
