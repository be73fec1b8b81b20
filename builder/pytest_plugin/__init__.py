"""pytest against a lab that is up: `pytest --nestlab LAB [FILES]`. The fixtures are in `fixtures`.

A file that some node's system names among its checks runs on those nodes; any other file runs on every node of the lab.
Without --nestlab the plugin does nothing: the fixtures are not even there, and testinfra's `host` is testinfra's own.
"""

from __future__ import annotations

import os

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("nestlab")
    group.addoption(
        "--nestlab",
        metavar="LAB",
        default=os.environ.get("NESTLAB_PYTEST_LAB"),
        help="run against this lab, which must be up: its name, or its lab file [env: NESTLAB_PYTEST_LAB]",
    )


def pytest_configure(config: pytest.Config) -> None:
    lab = config.getoption("--nestlab")
    if not lab:
        return
    # Loaded now: test runs of other projects that have nestlab installed come by here, too.
    from builder.errors import LabError  # noqa: PLC0415
    from builder.pytest_plugin import fixtures  # noqa: PLC0415

    try:
        config.stash[fixtures.LAB] = fixtures.read_running_lab(lab)
    except LabError as error:
        raise pytest.UsageError(str(error)) from None
    # Registered late, so that its `host` stands before testinfra's.
    config.pluginmanager.register(fixtures, "nestlab-fixtures")
