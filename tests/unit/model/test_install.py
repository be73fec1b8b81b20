"""A node's `install:`: layered and checked by its system's own type, kept in a form that survives JSON."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.model.install import in_kib, in_mib, seen_from
from builder.model.lab import Node
from builder.model.load import read_lab
from tests.support.lab_files import SYSTEMS, Installer, lab_of, problems_of


def lab(tmp_path: Path, install: str, defaults: str = "") -> Path:
    path = tmp_path / "lab.yaml"
    path.write_text(
        f"name: t\ndefaults:\n  system: installed\n  source: {{medium: x.iso}}\n{defaults}"
        f"nodes:\n  a:\n    install:\n{install}"
    )
    return path


def test_a_file_is_read_from_the_labs_folder_and_kept_with_its_content(tmp_path: Path) -> None:
    (tmp_path / "hooks").mkdir()
    (tmp_path / "hooks/post.sh").write_text("echo ä\n")
    (node,) = read_lab(lab(tmp_path, "      script: hooks/post.sh\n"), SYSTEMS).nodes
    assert node.install == {"script": {"path": "hooks/post.sh", "content": "echo ä\n"}}
    again = Node.model_validate_json(node.model_dump_json())
    script = Installer.model_validate(again.install).script
    assert script is not None and script.content == "echo ä\n"


@pytest.mark.parametrize(
    ("content", "why"), [(b"\xff\xfe", "UTF-8"), (b"a\0b", "NUL"), (b"x" * ((1 << 20) + 1), "larger than 1 MiB")]
)
def test_what_is_no_small_text_is_refused(tmp_path: Path, content: bytes, why: str) -> None:
    script = tmp_path / "s"
    script.write_bytes(content)
    (problem,) = problems_of(
        f"name: t\nnodes: {{a: {{system: installed, source: {{medium: x}}, install: {{script: {script}}}}}}}\n"
    )
    assert problem.code == "lab-local-file" and why in problem.message


def test_layers_are_merged_key_by_key(tmp_path: Path) -> None:
    shared = "  install: {swap: 2GiB, colour: green}\n"
    (node,) = read_lab(lab(tmp_path, "      swap: 1.5GiB\n", shared), SYSTEMS).nodes
    assert node.install == {"swap": "1536MiB", "colour": "green"}


def test_the_labs_settings_are_for_the_labs_system() -> None:
    made = lab_of(
        "name: t\ndefaults: {system: installed, source: {medium: x.iso}, install: {swap: 2GiB}}\n"
        "nodes: {a: {}, b: {system: host, source: image}}\n"
    )
    assert [dict(node.install) for node in made.nodes] == [{"swap": "2048MiB"}, {}]


def test_a_shared_mistake_is_told_once_where_it_stands() -> None:
    (problem,) = problems_of(
        "name: t\ndefaults:\n  system: installed\n  source: {medium: x.iso}\n  install:\n    swapp: 1GiB\n"
        "nodes: {a: {}, b: {}}\n"
    )
    assert (problem.code, problem.line, problem.column) == ("lab-unknown-key", 6, 5)


def test_sizes_keep_their_unit() -> None:
    assert in_mib(Installer(swap="1.5GiB").swap) == 1536
    assert in_kib("64KiB") == 64


def test_a_home_of_nobody_is_a_folder_of_that_name(tmp_path: Path) -> None:
    assert seen_from(tmp_path, "~nobody-here/x.iso") == tmp_path / "~nobody-here/x.iso"
    assert seen_from(tmp_path, "~/x.iso") == Path.home() / "x.iso"
    assert seen_from(tmp_path, "/x.iso") == Path("/x.iso")
