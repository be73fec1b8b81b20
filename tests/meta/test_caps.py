"""Rooms stay small: 400 lines a file, 60 lines a function, 6 parameters."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.support.repo import ROOT, Source, project_files, sources

FILE, FUNCTION, PARAMETERS = 400, 60, 6
FOLDERS = ("builder", "ci", "labs", "tests")

# Every exception has its reason here.
MORE_PARAMETERS = {
    "builder.run.run": "the parameters are those of running a program",
}


def functions(source: Source) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{source.module}.{node.name}", node


def is_command(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """A click command: its parameters are the options that users see."""
    return any(
        "click." in ast.unparse(d) or (d is node.decorator_list[0] and "option" in ast.unparse(d))
        for d in node.decorator_list
    )


def parameters(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    names = [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
    return len([name for name in names if name not in {"self", "cls"}])


def test_files_are_short() -> None:
    kinds = {".py", ".sh"}
    counted = [p for p in project_files() if p.suffix in kinds and p.relative_to(ROOT).parts[0] in FOLDERS]
    assert counted
    long = {str(p.relative_to(ROOT)): n for p in counted if (n := len(p.read_text().splitlines())) > FILE}
    assert long == {}


def test_functions_are_short() -> None:
    long = {
        name: length
        for source in sources(*FOLDERS)
        for name, node in functions(source)
        if (length := (node.end_lineno or node.lineno) - node.lineno + 1) > FUNCTION
    }
    assert long == {}


def test_functions_have_few_parameters() -> None:
    many = {
        name: count
        for source in sources("builder", "ci")  # in tests and checks, parameters are fixtures and cases
        for name, node in functions(source)
        if (count := parameters(node)) > PARAMETERS and not is_command(node)
    }
    assert set(many) == set(MORE_PARAMETERS), "too many parameters, or an exception that is no longer needed"
