"""What procedures say of themselves: every code of a refusal is explained, every option described."""

from __future__ import annotations

import ast
import importlib
import inspect

import pytest

from builder.procedures import PROCEDURES, boot, load_procedure
from builder.procedures.api import DIALECTS
from builder.procedures.errors import Refused
from builder.procedures.options import parse_options
from tests.support.repo import ROOT

SHARED = {"asking", "api", "boot", "drill", "engine", "errors", "grubcfg", "guest_disks_wait",
          "guest_migrate_xe", "guests", "host_update_xe", "journal", "log_trigger", "migration", "options",
          "page", "pciback", "pci_devices", "raid", "raid_disks", "raid_drill", "raid_look",
          "update_families", "vifs", "xe", "xlconf"}  # fmt: skip


def codes_in(module: object) -> set[str]:
    """Codes that a module gives: `code="..."`, where it has a word, not a variable."""
    tree = ast.parse(inspect.getsource(module))  # type: ignore[arg-type]
    given = {word.value for call in ast.walk(tree) if isinstance(call, ast.keyword) and call.arg == "code"
             for word in ast.walk(call.value) if isinstance(word, ast.Constant)}  # fmt: skip
    return {str(word) for word in given if word != "absent"}


@pytest.mark.parametrize("name", PROCEDURES)
def test_every_code_of_a_refusal_is_explained(name: str) -> None:
    procedure = load_procedure(name)
    module = importlib.import_module(PROCEDURES[name])
    expected = codes_in(module)
    if any(isinstance(way, boot.BootWay) for way in procedure.ways.values()):
        expected |= codes_in(boot)
    assert expected <= set(procedure.refuses)
    used = [*vars(module).values(), *map(type, procedure.ways.values())]
    others = {importlib.import_module(each.__module__) for each in used
              if str(getattr(each, "__module__", "")).startswith("builder.procedures.")}  # fmt: skip
    text = "".join(map(inspect.getsource, {module, boot, *others}))
    assert [code for code in procedure.refuses if text.count(f'"{code}"') < 2 and code not in expected] == []


@pytest.mark.parametrize("name", PROCEDURES)
def test_a_procedure_says_all_that_its_page_needs(name: str) -> None:
    procedure = load_procedure(name)
    assert procedure.name == name
    assert set(procedure.ways) <= set(DIALECTS) and procedure.ways
    assert procedure.sources and procedure.summary.endswith(".")
    assert all(field.description for field in procedure.options.model_fields.values())
    assert not procedure.subject or procedure.subject in procedure.options.model_fields
    assert parse_options(procedure, procedure.drill.options) is not None


def test_every_file_of_the_room_is_a_procedure_or_shared() -> None:
    files = {path.stem for path in (ROOT / "builder/procedures").glob("*.py")} - {"__init__"}
    assert files - SHARED == {target.rpartition(".")[2] for target in PROCEDURES.values()}


def test_parameters_of_other_procedures_are_not_set_by_hand() -> None:
    procedure = load_procedure("nic-quirk")
    way = procedure.ways["xl"]
    found = way.refusals(way.sample, parse_options(procedure, {"key": "console", "value": "tty0"}))
    assert [refusal.code for refusal in found] == ["other-procedure"]
    assert "serial-console" in str(Refused("dom0", "nic-quirk", found))
