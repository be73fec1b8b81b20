"""SUSE's answers, each read by programs that others wrote.

The grammar that jing and xmllint hold profiles against is ours (tests/schemas/autoyast.rnc), restated: YaST's own
schema is under the GPL and not part of this project. By hand, on 2026-11-21, all cases here were held against YaST's
own sections too (of yast-autoinstallation e94d61ec, and of the modules of that day), read by YaST's own reader of XML
(yast-yast2 a393fc9e0), and held against Agama's schemas of its branch SLE-16 and of its main branch: nothing was found.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from lxml import etree

from tests.support.debs import merged
from tests.support.repo import ROOT
from tests.support.suse import CASES, RELEASES, YAST, scripts_of
from tests.support.suse_right import RIGHT
from tests.support.xl import read_xl

pytestmark = pytest.mark.integration

GRAMMAR = ROOT / "tests/schemas/autoyast.rnc"
NS = "{http://www.suse.com/1.0/yast2ns}"
FULL = "15.6-full"


@pytest.fixture(scope="module")
def profiles(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Every case's AutoYaST profile as a file."""
    folder = tmp_path_factory.mktemp("profiles")
    for name, case in CASES.items():
        if case.node.release in YAST:
            (folder / f"{name}.xml").write_text(case.text)
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def grammar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The grammar in the form that xmllint reads."""
    made = tmp_path_factory.mktemp("grammar") / "autoyast.rng"
    subprocess.run(["trang", str(GRAMMAR), str(made)], check=True)
    return made


def jing(*files: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["jing", "-c", str(GRAMMAR), *map(str, files)], capture_output=True, text=True, check=False)


def xmllint(grammar: Path, *files: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["xmllint", "--noout", "--relaxng", str(grammar), *map(str, files)], capture_output=True, text=True, check=False
    )


def test_jing_takes_every_profile(profiles: list[Path]) -> None:
    assert len(profiles) >= 40
    done = jing(*profiles)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_xmllint_agrees(profiles: list[Path], grammar: Path) -> None:
    done = xmllint(grammar, *profiles)
    complaints = [line for line in done.stderr.splitlines() if not line.endswith(" validates")]
    assert (done.returncode, complaints) == (0, [])


WRONG = (
    ('<confirm config:type="boolean">', "<confirm>"),
    ('<partitions config:type="list">', "<partitions>"),
    ("<boot_mbr>true", '<boot_mbr config:type="boolean">true'),
    ("<xen_append>", "<xen_apend>x</xen_apend><xen_append>"),
    ("<raid_type>raid10", "<raid_type>raid11"),
    ("<chunk_size>512KiB", "<chunk_size>512"),
    ("<loader_type>grub2<", "<loader_type>grub<"),
    ("<destination>default", "<destination>"),
    ('<timeout config:type="integer">10<', '<timeout config:type="integer">soon<'),
    ("<user_password>$6$", "<user_password>"),
    ("<file_permissions>0644", "<file_permissions>rw-r--r--"),
    ("<bridge_stp>off", "<bridge_stp>no"),
)


@pytest.mark.parametrize(("old", "new"), WRONG, ids=[new[:30] for _, new in WRONG])
def test_both_see_what_is_wrong(old: str, new: str, grammar: Path, tmp_path: Path) -> None:
    network = CASES["15.6-network"].text
    text = CASES[FULL].text if old in CASES[FULL].text else network
    assert old in text
    wrong = tmp_path / "wrong.xml"
    wrong.write_text(text.replace(old, new, 1))
    assert jing(wrong).returncode != 0
    assert xmllint(grammar, wrong).returncode != 0


def test_the_judges_own_right_answers_are_xml_for_xmllint(tmp_path: Path) -> None:
    file = tmp_path / "right.xml"
    file.write_text(RIGHT)
    done = subprocess.run(["xmllint", "--noout", str(file)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def files_of(name: str) -> dict[str, str]:
    text = CASES[name].text
    if text.startswith("{"):
        return {each["destination"]: each["content"] for each in json.loads(text)["files"]}
    files = etree.fromstring(text.encode()).iter(f"{NS}file")
    return {each.findtext(f"{NS}file_path") or "": each.findtext(f"{NS}file_contents") or "" for each in files}


@pytest.mark.parametrize("release", RELEASES)
def test_xls_own_parser_reads_its_settings(release: str, tmp_path: Path) -> None:
    conf = tmp_path / "xl.conf"
    conf.write_text(files_of(f"{release}-full")["/etc/xen/xl.conf"])
    complaint, found = read_xl(conf, "autoballoon", "vif.default.bridge")
    assert (complaint, found) == ("", {"autoballoon": "off", "vif.default.bridge": "xenbr0"})


def test_systemd_takes_the_unit_of_the_disks_time_out(tmp_path: Path) -> None:
    """Beside units of the names that it orders itself by, which are Xen's own."""
    unit = "etc/systemd/system/xen-LIBXL_HOTPLUG_TIMEOUT.service"
    root = merged("12", ("systemd", "udev"), tmp_path / "root")
    (root / unit).parent.mkdir(parents=True, exist_ok=True)
    (root / unit).write_text(files_of(FULL)[f"/{unit}"])
    for name in ("xenstored", "xen-init-dom0", "xencommons"):
        text = "[Service]\nType=oneshot\nExecStart=/bin/true\n"
        (root / f"etc/systemd/system/{name}.service").write_text(text)
    for program in ("bin/true", "bin/grep", "usr/bin/xenstore-write", "usr/bin/true", "usr/bin/grep"):
        (root / program).parent.mkdir(parents=True, exist_ok=True)
        (root / program).write_text("#!/bin/sh\n")
        (root / program).chmod(0o755)
    subprocess.run(["systemctl", "--root", str(root), "enable", unit.rpartition("/")[2]], check=True)
    wanted = root / "etc/systemd/system/multi-user.target.wants/xen-LIBXL_HOTPLUG_TIMEOUT.service"
    assert wanted.is_symlink()
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--root", str(root), unit.rpartition("/")[2]],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert [line for line in done.stderr.splitlines() if "HOTPLUG" in line] == []
    (root / unit).write_text(files_of(FULL)[f"/{unit}"].replace("Type=oneshot", "Type=oneshoot"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--root", str(root), unit.rpartition("/")[2]],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "oneshoot" in done.stderr


@pytest.mark.parametrize("name", ["15.6-full", "16.0-full", "16.0-uefi-raid10x4", "sles15-by-id", "sles15-bios-plain"])
def test_shellcheck_has_nothing_to_say_of_our_scripts(name: str) -> None:
    ours = {key: text for key, text in scripts_of(CASES[name].plan).items() if key.endswith(".sh")}
    assert {"finish.sh", "volume.sh", "done.sh", "mark-answers.sh", "mark-disks.sh"} <= set(ours)
    for key, text in ours.items():
        done = subprocess.run(
            ["shellcheck", "--shell=sh", "-"], input=text, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout) == (0, ""), key


def test_the_boot_settings_of_agama_are_read_back_by_a_shell(tmp_path: Path) -> None:
    """The part of our script that writes /etc/default/grub, run on a file of SUSE's kind, and the file read as
    grub2-mkconfig does: by a shell."""
    script = scripts_of(CASES["16.0-full"].plan)["finish.sh"]
    start, end = script.index("sed -i -E"), script.index("grub2-mkconfig")
    grub = tmp_path / "grub"
    grub.write_text('GRUB_DEFAULT=0\nGRUB_CMDLINE_XEN_DEFAULT="vga=gfx"\nGRUB_TIMEOUT=8\nGRUB_TERMINAL="gfxterm"\n')
    subprocess.run(["sh", "-eu", "-c", script[start:end].replace("/etc/default/grub", str(grub))], check=True)
    names = ("DEFAULT", "TIMEOUT", "TERMINAL", "CMDLINE_XEN_DEFAULT", "CMDLINE_LINUX_XEN_REPLACE_DEFAULT")
    show = "|".join(f"$GRUB_{name}" for name in names)
    done = subprocess.run(["sh", "-c", f'. {grub}; echo "{show}"'], check=True, capture_output=True, text=True)
    args = CASES["16.0-full"].plan.boot_args
    assert done.stdout.rstrip("\n").split("|") == [
        "saved", "8", "console serial", " ".join(args.hypervisor), " ".join(args.kernel),
    ]  # fmt: skip
    assert grub.read_text().count("GRUB_CMDLINE_XEN_DEFAULT=") == 1
