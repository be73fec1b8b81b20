"""Exported PowerShell, parsed by a real grammar (tree-sitter's), its calls held against Microsoft's own tables of the
Hyper-V module. Both judges are shown broken scripts as well."""

from __future__ import annotations

import pytest

from tests.support.exports import CURLY, HOSTILE_QUOTED, cards, export, installed, lab, two_nodes
from tests.support.hyperv import parsed, problems, wrong

pytestmark = pytest.mark.integration
LABS = {"two nodes": two_nodes(), "access ports": lab(installed(nics=cards({"vlan": 7})))}
PLACES = {"plain": {}, "hostile": {"folder": f"C:\\{HOSTILE_QUOTED}{CURLY}", "uplink": HOSTILE_QUOTED + CURLY}}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("made", LABS)
def test_scripts_are_powershell(made: str, place: str) -> None:
    files = {
        path: file for path, file in export("hyperv", LABS[made], **PLACES[place]).items() if path.endswith(".ps1")
    }
    assert len(files) == 5
    for path, file in files.items():
        assert wrong(file.content) == [], path
        assert problems(file.content) == [], path


def test_hostile_names_run_nothing() -> None:
    names = set()
    for path, file in export("hyperv", two_nodes(), **PLACES["hostile"]).items():
        if path.endswith(".ps1"):
            names |= {(node.text or b"").decode() for node in parsed(file.content) if node.type == "command_name"}
    assert "New-LabVM" in names and not names & {"touch", "pwned", "two", "words"}


@pytest.mark.parametrize(("right", "broken"), [("@{", "@"), ("'demo'", "'demo"), ("}", ""), ("| Out-Null", "| |")])
def test_the_grammar_is_not_blind(right: str, broken: str) -> None:
    text = export("hyperv", two_nodes())["create.ps1"].content
    assert right in text and wrong(text.replace(right, broken, 1))


@pytest.mark.parametrize(
    ("right", "broken"),
    [
        ("-ExposeVirtualizationExtensions", "-ExposeVirtualisationExtensions"),
        ("Set-VMProcessor", "Set-VMProcessors"),
        ("-IsLegacy $true", "-Legacy $true"),
        ("-MemoryStartupBytes", "-Memory"),
        ("-SwitchType Private", "-SwitchType Private -NetAdapterName x"),
        ("-ControllerType IDE", "-ControllerType IDE -VM $x"),
    ],
)
def test_the_judge_of_cmdlets_is_not_blind(right: str, broken: str) -> None:
    text = export("hyperv", two_nodes())["lib.ps1"].content
    assert right in text
    changed = text.replace(right, broken, 1)
    assert wrong(changed) == [] and len(problems(changed)) == 1
