"""A small suite with every component of an installation, signed with a key of its own: what the mirror has as it is,
what it has lost made again. The installer checks its signature as that of any other suite: its medium has the key."""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path

from builder.errors import LabError
from builder.paths import locked, write_atomic
from builder.run import need, run
from ci.debian_installer import remade
from ci.debian_installer.components import Component, ComponentsApt, cache_folder, read_stanzas, wanted, without
from tests.support.debs import unpacked
from tests.support.installer import NETBOOT, initrd

NAME = "dilocal"
"""Of the suite: `install.udeb_suite` in a lab file."""
_POOL = "pool-components"
_INDEX = "main/debian-installer/binary-amd64"
_NEEDED = ("partman-auto", "partman-auto-lvm", "partman-auto-raid", "partman-ext3", "bootstrap-base", "grub-installer",
           "pkgsel", "finish-install", "user-setup-udeb", "apt-setup-udeb")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Suite:
    """`archive` is the tree that a mirror serves; `udebs` its components; `key` the public key, as gpgv reads it;
    `installer` the folder with the netboot kernel and initrd; the names say how each component came."""

    archive: Path
    udebs: tuple[Path, ...]
    key: Path
    installer: Path
    kernel: str
    from_mirror: tuple[str, ...]
    remade: tuple[str, ...]
    left_out: tuple[str, ...]


def suite(release: str) -> Suite:
    """The suite for a release, from the cache when it was made before from the same components. Needs the network
    the first time only. Raises LabError when something without which no installation ends cannot be had."""
    apt = ComponentsApt(release)
    installer = next(unpacked(release, (NETBOOT[release],)).rglob("text/**/initrd.gz")).parent
    cache_folder().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache_folder()) as name:
        tree = initrd(release, Path(name) / "initrd")
        here = tuple(read_stanzas((tree / "var/lib/dpkg/status").read_text("utf-8")))
        kernel = next(path.name for path in (tree / "usr/lib/modules").iterdir())
        chosen = wanted(apt.listed(), here, kernel)
        folder = cache_folder() / f"{release}-{_digest(chosen, installer)}"
        with locked(folder.with_name(f"{folder.name}.lock")):
            if not folder.exists():
                partial = Path(name) / "suite"
                _make(apt, chosen, here, tree, partial, release)
                partial.rename(folder)
    made = json.loads((folder / "made.json").read_text("utf-8"))
    return Suite(
        archive=folder / "archive",
        udebs=tuple(sorted((folder / "archive" / _POOL).iterdir())),
        key=folder / "key.gpg",
        installer=installer,
        kernel=kernel,
        **{name: tuple(names) for name, names in made.items()},
    )


def _digest(chosen: Sequence[Component], installer: Path) -> str:
    """Of the components as the index has them, the installer's build, and the code that makes the rest."""
    digest = hashlib.sha256((installer / "initrd.gz").read_bytes())
    for component in chosen:
        digest.update(f"{component.name} {component.fields.get('SHA256', '')}\n".encode())
    for source in ("components.py", "remade.py", "suite.py"):
        digest.update((Path(__file__).parent / source).read_bytes())
    return digest.hexdigest()[:16]


def _make(
    apt: ComponentsApt, chosen: Sequence[Component], here: Sequence[Component], tree: Path, folder: Path, release: str
) -> None:
    brought = apt.bring([component.name for component in chosen])
    lost = {component.name for component in chosen if component.name not in brought}
    unmakeable = {each.name for each in chosen if each.name in lost and not remade.can_make(each)}
    kept = without(chosen, unmakeable, [name for each in here for name in (each.name, *each.provides)])
    absent = sorted(set(_NEEDED) - {component.name for component in kept})
    if absent:
        raise LabError(f"the mirror lacks components of the installer that cannot be made here: {', '.join(absent)}",
                       hint="ask a mirror that still has them: NESTLAB_DEBIAN_MIRROR")  # fmt: skip
    work, pool = folder / "work", folder / "archive" / _POOL
    work.mkdir(parents=True)
    pool.mkdir(parents=True)
    for component in kept:
        file = brought.get(component.name) or _remake(component, tree, work, release)
        shutil.copyfile(file, pool / _file_name(component))
    shutil.rmtree(work)
    _publish(folder / "archive", [pool / _file_name(each) for each in kept], folder / "key.gpg")
    made = {
        "from_mirror": [each.name for each in kept if each.name in brought],
        "remade": [each.name for each in kept if each.name in lost],
        "left_out": sorted({each.name for each in chosen} - {each.name for each in kept}),
    }
    write_atomic(folder / "made.json", json.dumps(made, indent=2))


def _file_name(component: Component) -> str:
    """Without the sign that an address may not hold as it is."""
    return f"{component.name.replace('+', '_')}.udeb"


def _remake(component: Component, tree: Path, work: Path, release: str) -> Path:
    if remade.modules_family(component):
        kernel = unpacked(release, (f"linux-image-{component.kernel}",))
        return remade.make_modules(component, kernel, tree, work)
    packages = remade.CONTENTS[component.name].packages
    return remade.make_contents(component, unpacked(release, packages) if packages else None, work)


def _publish(archive: Path, pool: Sequence[Path], key: Path) -> None:
    """Packages, Release and its signature; the public key goes to `key`, the secret one nowhere."""
    stanzas = []
    for file in pool:
        control = run(["dpkg-deb", "--field", file]).stdout.rstrip("\n")
        data = file.read_bytes()
        stanzas.append(
            f"{control}\nFilename: {file.relative_to(archive)}\nSize: {len(data)}\n"
            f"SHA256: {hashlib.sha256(data).hexdigest()}\n"
        )
    packages = "\n".join(stanzas).encode()
    suite_folder = archive / "dists" / NAME
    (suite_folder / _INDEX).mkdir(parents=True)
    sums = []
    for name, data in (("Packages", packages), ("Packages.gz", gzip.compress(packages, mtime=0))):
        (suite_folder / _INDEX / name).write_bytes(data)
        sums.append(f" {hashlib.sha256(data).hexdigest()} {len(data)} {_INDEX}/{name}\n")
    (suite_folder / "Release").write_text(
        f"Origin: nestlab\nSuite: {NAME}\nCodename: {NAME}\nDate: {formatdate(usegmt=True)}\nArchitectures: amd64\n"
        f"Components: main\nSHA256:\n{''.join(sums)}"
    )
    _sign(suite_folder / "Release", key)


def _sign(release: Path, key: Path) -> None:
    need("gpg", why="sign the suite of components", package="gnupg")
    with tempfile.TemporaryDirectory(prefix="nl-") as home:
        gpg = ["gpg", "--homedir", home, "--batch", "--quiet", "--no-tty"]
        try:
            run([*gpg, "--passphrase", "", "--quick-gen-key", "components of one test", "rsa2048", "sign", "never"])
            run([*gpg, "--detach-sign", "--armor", "--output", release.with_name("Release.gpg"), release])
            exported = subprocess.run([*gpg, "--export"], capture_output=True, check=True, timeout=60).stdout
            write_atomic(key, exported)
        finally:
            run(["gpgconf", "--homedir", home, "--kill", "all"], check=False)
