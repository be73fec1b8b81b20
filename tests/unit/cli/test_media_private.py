"""Media with answers in them are their owner's alone to read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.unit.cli.media_here import Run, here_fixture, run_fixture  # noqa: F401 - fixtures


@pytest.mark.parametrize(
    ("options", "mode"), [(("--append", "a=1"), 0o644), (("--answer", "ks.cfg"), 0o600), (("--add", "key:/x"), 0o600)]
)
@pytest.mark.parametrize("where", ["o.iso", "o.qcow2", "in place"])
def test_a_medium_with_answers_is_its_owners_alone(
    options: tuple[str, ...], mode: int, where: str, run: Run, here: Path
) -> None:
    (here / "key").write_text("-----BEGIN PRIVATE KEY-----\nAAAA\n")
    old = os.umask(0o022)
    try:
        to = ("--in-place",) if where == "in place" else ("-o", where)
        said = run("build", "--iso", "rhel.iso", *to, *options).stderr
    finally:
        os.umask(old)
    assert (here / ("rhel.iso" if where == "in place" else where)).stat().st_mode & 0o777 == mode
    assert ("others must not read" in said) == (mode == 0o600)


def test_a_node_whose_answers_are_beside_its_medium(run: Run, here: Path) -> None:
    """They are on the volume; the medium itself says only where to look."""
    for node, mode in (("xen", 0o600), ("el", 0o644)):
        run("build", "lab.yaml", node, "-o", f"{node}.iso")
        assert (here / f"{node}.iso").stat().st_mode & 0o777 == mode & ~_umask()
    assert (here / "el-oemdrv.iso").stat().st_mode & 0o777 == 0o600


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
