"""How pytest finds nestlab's plugin: as an entry point where nestlab is installed, by name in a bare checkout."""

from __future__ import annotations

from importlib.metadata import entry_points


def plugin_options() -> list[str]:
    """What to add to pytest's arguments. Naming it when it is installed as well would be an error of pytest's."""
    installed = any(point.value == "builder.pytest_plugin" for point in entry_points(group="pytest11"))
    return [] if installed else ["-p", "builder.pytest_plugin"]
