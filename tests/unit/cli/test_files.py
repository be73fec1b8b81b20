"""Verbs that only read and write files: validate, plan, render, schema, systems, settings, explain."""

from __future__ import annotations

import ast
import json
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from builder.cli import codes, limits
from builder.cli.frame import root
from builder.cli.render import MARKER, write_tree
from builder.errors import LabError, LabFileError, UsageError
from builder.model.load import HostLimits
from builder.model.plan import File
from builder.model.units import GIB
from builder.paths import data_dir

PACKAGE = Path(codes.__file__).parents[1]
LAB = """\
name: demo
networks: {lan: {}}
nodes:
  a: {system: tiny, networks: [lan]}
  b: {system: debian, networks: [lan], after: [a]}
"""
BAD = """\
name: demo
nodes:
  a:
    system: tiny
    memroy: 1GiB
    memory: 1GB
"""
Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a verb in a folder of its own, with demo.yaml and bad.yaml in it; errors are raised, not printed."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo.yaml").write_text(LAB)
    (tmp_path / "bad.yaml").write_text(BAD)
    places = {f"NESTLAB_{name}": str(tmp_path / name.lower()) for name in ("STATE", "CACHE", "RUNTIME")}
    runner = CliRunner(env={**places, "NESTLAB_DEBIAN_MIRROR": "http://mirror.example/debian"})
    # A fake machine with room for every lab here: what the real one has left must not decide what is said.
    monkeypatch.setattr(limits, "host_limits", lambda _: HostLimits(memory=64 * GIB, cpus=8, disk_free=1024 * GIB))

    def invoke(*arguments: str) -> Result:
        return runner.invoke(root, arguments, standalone_mode=False)

    return invoke


def test_validate_says_ok_on_stdout(run: Run) -> None:
    done = run("validate", "demo.yaml")
    assert (done.return_value, done.stdout, done.stderr) == (0, "demo.yaml: ok, lab demo, 2 nodes\n", "")
    assert run("-q", "validate", "demo.yaml").stdout == ""


def test_validate_reports_all_files_with_places(run: Run) -> None:
    done = run("validate", "bad.yaml", "demo.yaml", "missing.yaml")
    assert done.return_value == 2
    assert done.stdout == "demo.yaml: ok, lab demo, 2 nodes\n"
    places = [line.partition(": ")[0] for line in done.stderr.splitlines() if not line.startswith("  hint")]
    assert places[:2] == ["bad.yaml:5:5", "bad.yaml:6:13"]
    assert "there is no lab file missing.yaml" in done.stderr


def test_validate_as_data(run: Run) -> None:
    done = run("validate", "bad.yaml", "demo.yaml", "-o", "json")
    bad, good = json.loads(done.stdout)
    assert [(p["code"], p["line"]) for p in bad["problems"]] == [("lab-unknown-key", 5), ("lab-size", 6)]
    assert bad["problems"][0]["path"] == ["nodes", "a", "memroy"]
    assert (good["ok"], good["nodes"], good["notes"]) == (True, ["a", "b"], [])


def test_validate_tells_notes_apart_from_problems(run: Run, tmp_path: Path) -> None:
    (tmp_path / "note.yaml").write_text(LAB.replace("{lan: {}}", "{lan: {}, spare: {}}"))
    done = run("validate", "note.yaml")
    assert done.return_value == 0
    assert "note.yaml:2:21: note: " in done.stderr
    assert "[lab-unused-network]" in done.stderr


def test_validate_judges_the_answers_of_installers(run: Run, tmp_path: Path) -> None:
    lab = "name: t\nnodes: {a: {system: xcpng, source: {medium: x.iso}, firmware: uefi}}\n"
    (tmp_path / "warned.yaml").write_text(lab)
    done = run("validate", "--no-limits", "warned.yaml")
    assert done.return_value == 0
    assert "warned.yaml: note: a: nested under KVM a UEFI host may not start [NLX082]" in done.stderr
    (tmp_path / "wrong.yaml").write_text(lab.replace("firmware: uefi", "install: {sr_type: largeblock}, release: 8.2"))
    done = run("validate", "--no-limits", "wrong.yaml")
    assert done.return_value == 2
    assert "wrong.yaml: a: install.sr_type: XCP-ng 8.2 has no largeblock [lab-answers]" in done.stderr


def test_limits_of_this_host_can_be_left_out(run: Run, tmp_path: Path) -> None:
    (tmp_path / "huge.yaml").write_text("name: huge\nnodes: {a: {system: tiny, memory: 900TiB}}\n")
    assert run("validate", "huge.yaml").return_value == 2
    assert run("validate", "--no-limits", "huge.yaml").return_value == 0


def test_plan_is_data_and_a_table(run: Run) -> None:
    value = json.loads(run("plan", "demo.yaml", "-o", "json").stdout)
    assert [node["name"] for node in value["nodes"]] == ["a", "b"]
    assert [(image["kind"], image["state"]) for image in value["images"]] == [
        ("initramfs", "to build"),
        ("disk", "to build"),
    ]
    keys = {step["id"]: step["key"] for step in value["steps"]}
    assert "a/boot" in keys
    assert len(keys["a/boot"]) == 64
    table = run("plan", "demo.yaml").stdout
    assert keys["a/boot"][:12] in table
    assert "disk0:" in table


def test_settings_of_one_installer_say_whose_they_are(run: Run) -> None:
    rows = json.loads(run("settings", "-o", "json").stdout)
    whose = {row["system"] for row in rows if row["setting"] == "nodes.*.install.delivery"}
    assert whose == {"debian", "rhel", "suse", "xcpng"}
    assert {row["system"] for row in rows if "install." not in row["setting"]} == {"-"}
    assert "system   xcpng" in run("explain", "install.sr_type").stdout


def test_plan_of_a_bad_file_is_refused_with_all_problems(run: Run) -> None:
    error = run("plan", "bad.yaml").exception
    assert isinstance(error, LabFileError)
    assert len(error.problems) == 2


def test_an_unknown_name_is_not_a_file(run: Run) -> None:
    error = run("plan", "nothing").exception
    assert isinstance(error, LabError)
    assert "no lab named nothing is up" in error.message
    assert "./nothing.yaml" in (error.hint or "")


def test_the_example_of_a_name_is_named(run: Run) -> None:
    for verb in ("plan", "up", "export --to xl", "validate"):
        done = run(*verb.split(), "tiny")
        said = f"{getattr(done.exception, 'hint', '')}{done.stderr}"
        assert str(data_dir("labs") / "tiny.yaml") in said, verb


def test_render_writes_what_it_lists(run: Run, tmp_path: Path) -> None:
    listed = json.loads(run("render", "demo.yaml", "-o", "json").stdout)
    assert {row["node"] for row in listed} == {"a", "b"}
    done = run("render", "demo.yaml", "--out", "out")
    assert done.exception is None
    assert done.stderr == "out has a folder for each node\n"
    written = {str(p.relative_to("out")): p for p in Path("out").rglob("*") if p.is_file()}
    assert set(written) - {MARKER} == {f"{row['node']}/{row['file']}" for row in listed}
    for row in listed:
        path = written[f"{row['node']}/{row['file']}"]
        assert (path.stat().st_size, f"{stat.S_IMODE(path.stat().st_mode):04o}") == (row["size"], row["mode"])
    assert run("render", "demo.yaml", "--stdout", "b:domain.xml").stdout == written["b/domain.xml"].read_text()
    assert "type='kvm'" in written["b/domain.xml"].read_text().replace('"', "'")
    assert "type='qemu'" in run(
        "render", "demo.yaml", "--stdout", "b:domain.xml", "--accelerator", "tcg"
    ).stdout.replace('"', "'")


def test_render_again_replaces_the_whole_folder(run: Run, tmp_path: Path) -> None:
    run("render", "demo.yaml", "--out", "out")
    Path("out/a/old").touch()
    assert run("render", "demo.yaml", "--out", "out").exception is None
    assert not Path("out/a/old").exists()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_render_never_replaces_what_it_did_not_write(run: Run) -> None:
    Path("out").mkdir()
    Path("out/thesis.txt").write_text("mine")
    error = run("render", "demo.yaml", "--out", "out").exception
    assert isinstance(error, UsageError)
    assert Path("out/thesis.txt").read_text() == "mine"


def test_a_failed_write_leaves_the_old_tree(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_tree(out, {"a/x": File(path="x", content="old")})
    with pytest.raises(OSError):
        write_tree(out, {"a": File(path="a", content="1"), "a/x": File(path="x", content="new")})
    assert (out / "a/x").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_render_of_an_unknown_file(run: Run) -> None:
    error = run("render", "demo.yaml", "--stdout", "b:nothing").exception
    assert isinstance(error, UsageError)
    assert error.hint == "nestlab render demo.yaml lists the files"


def test_render_of_a_file_by_its_last_name(run: Run) -> None:
    name = next(
        row["file"] for row in json.loads(run("render", "demo.yaml", "-o", "json").stdout) if "/" in row["file"]
    )
    error = run("render", "demo.yaml", "--stdout", f"b:{name.rpartition('/')[2]}").exception
    assert isinstance(error, UsageError)
    assert error.hint is not None
    assert f"there is b:{name}" in error.hint


def test_schema_is_one_json_document(run: Run) -> None:
    schema = json.loads(run("schema").stdout)
    assert "nodes" in schema["properties"]


def test_systems_and_settings(run: Run) -> None:
    systems = {row["name"]: row for row in json.loads(run("systems", "-o", "json").stdout)}
    assert "13" in systems["debian"]["releases"]
    settings = {row["setting"]: row for row in json.loads(run("settings", "-o", "json").stdout)}
    assert settings["nodes.*.firmware"]["takes"] == "bios|uefi"
    assert settings["networks.*.mtu"]["default"] == "1500"
    assert all(row["meaning"] for row in settings.values()), "every setting says what it means"
    assert not [name for name in settings if name.startswith("defaults.")]
    documented = json.loads(run("settings", "--documented", "-o", "json").stdout)
    assert all(row["document"] and row["date"] for row in documented)


def test_explain(run: Run) -> None:
    assert "GiB" in run("explain", "lab-size").stdout
    assert "GiB" in run("explain", "[lab-size]").stdout, "as it stands in the message"
    assert "nodes.*.xen.dom0_memory" in run("explain", "dom0_memory").stdout
    assert "lab-size" in run("explain", "--list").stdout
    assert "NLX032" in run("explain", "--list").stdout
    assert "GRUB 2" in run("explain", "NLK020").stdout and "el7" in run("explain", "nlk020").stdout
    assert "xcpng on kvm" in run("explain", "disks[].bus").stdout, "with what the documents say"
    error = run("explain", "lab-sise").exception
    assert isinstance(error, UsageError)
    assert "lab-size" in (error.hint or "")


# Settings as old documents about Xen hosts name them, by the hosts that they are about.
NAMED = {
    "debian": (
        "xen-linux-system xen-qemu-dm 686-bigmem dpkg-divert 20_linux_xen bridge_ports bridge_stp bridge_fd "
        "bridge_waitport /etc/network/interfaces network-script dom0_mem GRUB_CMDLINE_XEN GRUB_CMDLINE_XEN_DEFAULT "
        "GRUB_CMDLINE_LINUX xend-config.sxp dom0-min-mem enable-dom0-ballooning dom0-cpus XENDOMAINS_RESTORE "
        "XENDOMAINS_SAVE pciback.hide /etc/initramfs/modules pci=nomsi GRUB_SERIAL_COMMAND GRUB_TERMINAL GRUB_TIMEOUT "
        "com1 earlyprintk inittab xen-create-image pygrub pvgrub2 xen.independent_wallclock clocksource xm "
        "unmodified_drivers"
    ),
    "suse": (
        "GRUB_CMDLINE_XEN_DEFAULT autoballoon LIBXL_HOTPLUG_TIMEOUT max_loop modprobe.conf.local kernel-xen menu.lst "
        "xen2libvirt /lib/tls vm-install 8002 blktap mem= SummaSketch ifplugd NetworkManager pciback xen_server "
        "grub.xen 00:16:3e xen-dbg"
    ),
    "netbsd": (
        "menu=Xen dom0_mem console=pc com1 XEN3PAE_DOM0 xentools48 xencommons xendomains examples/rc.d "
        "brconfig MAKEDEV NAT installboot powerd INSTALL_XEN3PAE_DOMU xencons pciback.hide /kern/xen/pci"
    ),
    "rhel": "zerombr location=partition driveorder pesize SystemRoot discard pcie_aspm RAID10 ks=",
    "xcpng": "dom0_mem netinstall-gpg-check zap-utility-partitions netdevice",
}


@pytest.mark.parametrize(
    ("system", "word"), [(system, word) for system, words in NAMED.items() for word in words.split()]
)
def test_what_documents_name_is_known(run: Run, system: str, word: str) -> None:
    rows = json.loads(run("explain", word, "-o", "json").stdout)
    mine = [row for row in rows if row.get("setting", "").startswith(f"{system}: ")]
    assert mine
    for row in mine:
        assert (row.keys() >= {"was", "today", "why"}) != (row.keys() >= {"does", "written", "lab file"})


@pytest.mark.parametrize(
    ("begun", "word"),
    [("NLD07", "NLD073"), ("lab-siz", "lab-size"), ("xend-", "xend-config.sxp"), ("GRUB_CM", "GRUB_CMDLINE_XEN")],
)
def test_what_can_be_explained_is_completed(begun: str, word: str) -> None:
    done = CliRunner().invoke(root, [], prog_name="nestlab", complete_var="_NESTLAB_COMPLETE", env={
        "_NESTLAB_COMPLETE": "bash_complete", "COMP_WORDS": f"nestlab explain {begun}", "COMP_CWORD": "2",
    })  # fmt: skip
    found = [line.removeprefix("plain,") for line in done.output.split()]
    assert word in found and all(each.startswith(begun) for each in found)


def test_a_code_that_is_misspelt_has_neighbours(run: Run) -> None:
    error = run("explain", "NLD73").exception
    assert isinstance(error, UsageError) and "NLD073" in (error.hint or "")


def test_words_inside_of_others_are_the_last_resort(run: Run) -> None:
    (row,) = json.loads(run("explain", "noreboot", "-o", "json").stdout)
    assert row["setting"] == "nodes.*.xen.noreboot"
    assert isinstance(run("explain", "e").exception, UsageError)


def used_codes() -> set[str]:
    """Every text that has the shape of a code, in the rooms that find problems in lab files."""
    found = set()
    for file in (*(PACKAGE / "model").glob("*.py"), PACKAGE / "cli/validate.py"):
        for item in ast.walk(ast.parse(file.read_text())):
            if isinstance(item, ast.Constant) and isinstance(item.value, str) and item.value.startswith("lab-"):
                found.add(item.value)
    return {code for code in found if " " not in code and "\n" not in code}


def test_every_code_is_explained_and_every_explanation_is_of_a_code() -> None:
    assert set(codes.CODES) == used_codes()
