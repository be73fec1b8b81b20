"""The installer's own packages (udebs) as the configured mirror lists them, and which of them an installation takes.

Mirrors list components that they no longer hold: a stable release's installer is built anew with each new kernel, and
the components of the builds before are deleted. Only asking for each file tells.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from builder.errors import LabError
from builder.images.hosts import HostInputs, read_host
from builder.images.packages import AptRoot
from builder.paths import Places
from builder.run import run

ARCHIVE = "main/debian-installer"
MORE = ("partman-auto-lvm", "partman-lvm", "partman-auto-raid", "partman-md", "mdadm-udeb", "lvm2-udeb")
"""What the installer asks for while it goes: volume groups and arrays."""
_INSTALLED = ("required", "important", "standard")


def cache_folder() -> Path:
    """Where all of this package is kept from one run to the next."""
    return Places.from_environment(os.environ).cache / "debian-installer"


@dataclass(frozen=True, slots=True)
class Component:
    """One stanza of the mirror's index."""

    fields: Mapping[str, str]

    @property
    def name(self) -> str:
        return self.fields["Package"]

    @property
    def kernel(self) -> str:
        """The kernel that its modules are for; empty for all others."""
        return self.fields.get("Kernel-Version", "")

    @property
    def provides(self) -> tuple[str, ...]:
        return tuple(word.split()[0] for word in self.fields.get("Provides", "").split(",") if word.strip())

    @property
    def depends(self) -> tuple[tuple[str, ...], ...]:
        """Groups of alternatives."""
        groups = [group for group in self.fields.get("Depends", "").split(",") if group.strip()]
        return tuple(tuple(word.split()[0] for word in group.split("|") if word.strip()) for group in groups)


class ComponentsApt(AptRoot):
    """apt with the installer's part of the archive; `more` are other parts."""

    def __init__(self, release: str, *more: str) -> None:
        super().__init__(cache_folder() / "apt", _host((ARCHIVE, *more)), release)

    def listed(self) -> tuple[Component, ...]:
        """Everything in the index. Without a network that of an earlier time serves."""
        self.refresh()
        return tuple(read_stanzas(self._apt("apt-cache", "dumpavail")))

    def bring(self, names: Collection[str]) -> dict[str, Path]:
        """The files of those that the mirror holds, by name; asked of it only where they are not here yet."""
        self.refresh()
        archives = self._root / "cache/archives"
        wanted = self._uris(sorted(names))
        absent = [name for name, file in wanted.items() if not (archives / file).exists()]
        if absent:  # goes on behind each one that is gone, and then fails
            command = ["apt-get", "-c", str(self._conf), "download", "-q", *absent]
            run(command, cwd=archives, timeout=1800, check=False, env={"LC_ALL": "C"})
        return {name: archives / file for name, file in wanted.items() if (archives / file).exists()}


def _host(parts: tuple[str, ...]) -> HostInputs:
    host = read_host(mirror=os.environ.get("NESTLAB_DEBIAN_MIRROR"), tools=False)
    sources = (source for source in host.sources if not source.pocket)
    return host.model_copy(
        update={"sources": tuple(source.model_copy(update={"components": parts}) for source in sources)}
    )


def read_stanzas(text: str) -> Iterable[Component]:
    """Packages files and dpkg's status; a field's further lines are put on its first."""
    for block in re.split(r"\n\s*\n", text):
        fields = dict(re.findall(r"^([A-Za-z0-9-]+):[ \t]*(.*(?:\n[ \t].*)*)$", block, re.MULTILINE))
        if "Package" in fields:
            yield Component(fields)


def wanted(listed: Sequence[Component], initrd: Sequence[Component], kernel: str) -> tuple[Component, ...]:
    """What of the index an installation takes beside what its initrd has, as anna, which loads components, chooses: by
    priority, with all that those depend on, for this kernel only."""
    usable = [component for component in listed if component.kernel in ("", kernel)]
    here = {name for component in initrd for name in (component.name, *component.provides)}
    by_name: dict[str, Component] = {}
    for component in usable:
        for name in component.provides:
            by_name.setdefault(name, component)
    by_name |= {component.name: component for component in usable}
    queue = [each.name for each in usable if each.fields.get("Priority") in _INSTALLED] + list(MORE)
    taken: dict[str, Component] = {}
    while queue:
        name = queue.pop()
        if name not in by_name:
            raise LabError(f"no mirror of this release lists the installer's component {name}",
                           hint="does apt read the index of main/debian-installer?")  # fmt: skip
        component = by_name[name]
        if component.name not in taken and component.name not in here:
            taken[component.name] = component
            for group in component.depends:
                known = [word for word in group if word in here or word in by_name]
                queue += known[:1] if not here.intersection(group) else []
    return tuple(sorted(taken.values(), key=lambda each: each.name))


def without(components: Sequence[Component], lost: Collection[str], here: Collection[str]) -> tuple[Component, ...]:
    """Those that are left when some are lost: what depends on a lost one goes with it."""
    kept = [component for component in components if component.name not in lost]
    while True:
        offered = {name for component in kept for name in (component.name, *component.provides)} | set(here)
        left = [each for each in kept if all(any(word in offered for word in group) for group in each.depends)]
        if len(left) == len(kept):
            return tuple(left)
        kept = left
