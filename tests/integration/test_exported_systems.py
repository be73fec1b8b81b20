"""Every system, release, path and firmware, exported to every L0, before the judges of that L0. The claims of the proof
matrix about exports come from here (`bash ci/nightly.sh exports`); that the judges see is shown beside each of them in
`test_export_judges`, `test_export_powershell` and `test_export_scripts`.

Equal files are judged once. Readers of calls of xe and qm cannot be had here: their rules are restated, apart from the
code that writes calls.
"""

from __future__ import annotations

import functools
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import libvirt
import pytest
from lxml import etree

from builder.errors import LabError
from ci.exported import Case, cases, files_of, is_documented
from tests.integration.test_domain_xml import schema
from tests.support import fake_l0, hyperv, qm_rules, xe_rules
from tests.support.repo import some
from tests.support.vmx import for_libvirt, read_vmx
from tests.support.xenxl import parse_xl
from tests.support.xl import read_xl

pytestmark = pytest.mark.integration

Texts = tuple[tuple[str, str], ...]
"""Files of an export, by path, without its README."""


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Texts], None]:
    @functools.cache
    def judged(l0: str, texts: Texts) -> None:
        folder = tmp_path_factory.mktemp(l0)
        for name, text in texts:
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(text)
        shell(folder)
        JUDGES[l0](folder, dict(texts))

    return judged


def shell(folder: Path) -> None:
    scripts = some(sorted(path for path in folder.glob("*.sh") if "lib" not in path.name))
    for script in scripts:
        subprocess.run(["dash", "-n", script], check=True)
    names = [script.name for script in scripts]
    checked = subprocess.run(
        ["shellcheck", "-x", "-s", "sh", *names], cwd=folder, capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout


def xl(folder: Path, texts: Mapping[str, str]) -> None:
    for name in some(name for name in texts if name.endswith(".cfg")):
        assert read_xl(folder / name)[0] == "" and parse_xl(folder / name)[0] == ""


def called(folder: Path, texts: Mapping[str, str], program: str) -> tuple[list[str], ...]:
    """What the scripts call when they are run over stand-ins, which write calls down."""
    fakes = folder / "fakes"
    fakes.mkdir()
    environment = fake_l0.install(fakes)
    create = texts["create.sh"].replace("/root/nestlab/demo", str(folder))
    (folder / "create.sh").write_text(create)
    (folder / "demo-host-disk0.vhd").touch()
    for script in ("create.sh", "start.sh", "eject.sh", "remove.sh"):
        done = subprocess.run(
            ["dash", folder / script], env=environment, capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stderr
    return some(fake_l0.calls(fakes, program))


def xe(folder: Path, texts: Mapping[str, str]) -> None:
    calls = called(folder, texts, "xe")
    assert [(call, xe_rules.problems(call)) for call in calls if xe_rules.problems(call)] == []


def qm(folder: Path, texts: Mapping[str, str]) -> None:
    calls = called(folder, texts, "qm")
    assert [(call, qm_rules.problems(call)) for call in calls if qm_rules.problems(call)] == []


def vmx(_: Path, texts: Mapping[str, str]) -> None:
    for name in some(name for name in texts if name.endswith(".vmx")):
        assert read_vmx(for_libvirt(texts[name]))[0] == ""


def powershell(_: Path, texts: Mapping[str, str]) -> None:
    for name in some(name for name in texts if name.endswith(".ps1")):
        assert hyperv.wrong(texts[name]) == [] and hyperv.problems(texts[name]) == [], name


def domains(_: Path, texts: Mapping[str, str]) -> None:
    networks = etree.RelaxNG(etree.parse("/usr/share/libvirt/schemas/network.rng"))
    connection = libvirt.open("test:///default")
    try:
        for name in some(name for name in texts if name.endswith(".xml")):
            root = etree.fromstring(texts[name])
            (networks if name.startswith("networks/") else schema()).assertValid(root)
            if not name.startswith("networks/"):
                connection.defineXMLFlags(texts[name], libvirt.VIR_DOMAIN_DEFINE_VALIDATE).undefine()
    finally:
        connection.close()


JUDGES: Mapping[str, Callable[[Path, Mapping[str, str]], None]] = {
    "xen": xl, "xcpng": xe, "esxi": vmx, "workstation": vmx, "hyperv": powershell, "proxmox": qm,
    "libvirt": domains,
}  # fmt: skip


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_an_export_passes_its_judges_or_is_refused_by_documents(
    case: Case, judge: Callable[[str, Texts], None], request: pytest.FixtureRequest
) -> None:
    try:
        files = files_of(case)
    except LabError as refusal:
        assert is_documented(refusal), refusal
        return
    texts = tuple((name, file.content) for name, file in sorted(files.items()) if name != "README.md")
    judge(case.l0, texts)
    request.node.user_properties.append(("judged", case.name))  # for `ci.nightly.exports`
