"""Debian packages without installing them: apt with state of its own, then `dpkg -x`. Needs no root."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from builder.errors import CommandFailed, LabError
from builder.images.hosts import HostInputs
from builder.paths import locked, write_atomic
from builder.run import need, run

# The host's apt.conf.d is read first (proxies, https options, ...); hooks that act on the host's state are not ours.
_CONFIGURATION = """\
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Post-Invoke;
#clear Dir::Cache::pkgcache;
#clear Dir::Cache::srcpkgcache;
APT::Architecture "amd64";
APT::Architectures {{ "amd64"; }};
APT::Sandbox::User "";
APT::Install-Recommends "false";
Acquire::Languages "none";
Acquire::Retries "2";
Dir::State "{root}/state";
Dir::State::status "{root}/state/status";
Dir::Cache "{root}/cache";
Dir::Etc::sourcelist "{root}/debian.sources";
Dir::Etc::sourceparts "-";
"""


class AptRoot:
    """apt's lists and downloaded packages for one release, kept below `folder` from one build to the next."""

    def __init__(self, folder: Path, host: HostInputs, release: str) -> None:
        self._release = release
        self._root = folder / f"{release}-{host.sources_digest()[:16]}"
        self._conf = self._root / "apt.conf"
        self._sources = host.sources_list(release)
        self._fresh = False
        need("apt-get", why="get Debian packages", package="apt")
        need("dpkg", why="unpack Debian packages", package="dpkg")

    def refresh(self) -> None:
        """Read the package lists anew. Without a network the lists of an earlier time serve.

        Raises CommandFailed when there are none.
        """
        with locked(self._root / "lock"):
            self._refresh()

    def _refresh(self) -> None:
        if self._fresh:
            return
        for part in ("state/lists/partial", "cache/archives/partial"):
            (self._root / part).mkdir(parents=True, exist_ok=True)
        (self._root / "state/status").touch()
        write_atomic(self._root / "debian.sources", self._sources, mode=0o600)
        write_atomic(self._conf, _CONFIGURATION.format(root=self._root))
        try:
            self._apt("apt-get", "update", "-q", "-o", "APT::Update::Error-Mode=any")
        except CommandFailed:
            if not any((self._root / "state/lists").glob("*Packages*")):
                raise
        self._fresh = True

    def depends(self, package: str) -> tuple[str, ...]:
        """Names of the packages that `package` depends on (first of each group of alternatives)."""
        shown = self._apt("apt-cache", "show", "--no-all-versions", package)
        match = re.search(r"^Depends: (.*)$", shown, re.MULTILINE)
        groups = match[1].split(",") if match else []
        return tuple(group.split("|")[0].split()[0] for group in groups)

    def closure(self, packages: Sequence[str]) -> tuple[str, ...]:
        """The packages and all that they depend on, sorted."""
        said = self._apt("apt-get", "install", "-s", "-q", *packages)
        return tuple(sorted(set(re.findall(r"^Inst (\S+)", said, re.MULTILINE))))

    def unpack(self, packages: Sequence[str], into: Path) -> dict[str, str]:
        """Fetch what is not there yet and unpack it below `into`. Returns name -> file name of each package."""
        archives = self._root / "cache/archives"
        with locked(self._root / "lock"):
            self._refresh()
            wanted = self._uris(packages)
            missing = [package for package, name in wanted.items() if not (archives / name).exists()]
            if missing:
                self._apt("apt-get", "download", "-q", *missing, cwd=archives, timeout=1800)
        into.mkdir(parents=True, exist_ok=True)
        for package, name in sorted(wanted.items()):
            if not (archives / name).exists():
                raise LabError(f"apt did not bring {name} of package {package}", hint="run it again")
            run(["dpkg", "-x", archives / name, into], timeout=600)
        return wanted

    def _uris(self, packages: Sequence[str]) -> dict[str, str]:
        said = self._apt("apt-get", "download", "--print-uris", *packages)
        names = re.findall(r"^'[^']*' (\S+)", said, re.MULTILINE)
        return {name.split("_")[0]: name for name in names}

    def _apt(self, *argv: str, cwd: Path | None = None, timeout: float = 600) -> str:
        program, *rest = argv
        environment = {"LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
        hint = f"do this host's package sources have Debian {self._release}? NESTLAB_DEBIAN_MIRROR names another mirror"
        return run([program, "-c", self._conf, *rest], env=environment, cwd=cwd, timeout=timeout, hint=hint).stdout
