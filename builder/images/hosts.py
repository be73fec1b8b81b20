"""What an image takes from this machine: Debian's package sources as apt is configured here, and tool versions.

Sources may hold passwords (`https://user:password@mirror/`) and mirror names that nobody else can reach, so they
appear in keys as digests only.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import Field

from builder.errors import HostLacks
from builder.model.lab import Value
from builder.run import need, run

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
_SUITE = re.compile(r"^(?P<base>[a-z]+)(?P<pocket>-updates|-security)?$")
_ONE_LINE = re.compile(r"\s*deb\s+(?:\[(?P<options>[^\]]*)\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)\s*(?P<rest>[^#]*)")
_NOT_RELEASES = {"unstable", "testing", "experimental", "sid"}


_CODENAMES = {"11": "bullseye", "12": "bookworm", "13": "trixie", "14": "forky"}


def codename(release: str) -> str:
    """The suite of a Debian release as mirrors name it: 13 is trixie. A codename is its own."""
    return _CODENAMES.get(release, release)


class AptSource(Value):
    """One deb822 stanza, for any release: `pocket` is '' (the release itself), '-updates' or '-security'."""

    uri: str = Field(repr=False)
    pocket: str
    components: tuple[str, ...]
    signed_by: str = ""

    def stanza(self, release: str) -> str:
        lines = ["Types: deb", f"URIs: {self.uri}", f"Suites: {codename(release)}{self.pocket}"]
        lines.append(f"Components: {' '.join(self.components)}")
        if self.signed_by:
            lines.append(f"Signed-By: {self.signed_by}")
        return "\n".join(lines) + "\n"


class HostInputs(Value):
    """This machine's part in the bytes of an image. `assets` is the digest of the scripts and elements we ship."""

    sources: tuple[AptSource, ...] = Field(repr=False)
    tools: Mapping[str, str] = Field(default_factory=dict)
    assets: str

    def sources_digest(self) -> str:
        text = "\n".join(source.model_dump_json() for source in self.sources)
        return hashlib.sha256(text.encode()).hexdigest()

    def sources_list(self, release: str) -> str:
        """The deb822 file for `release`."""
        return "\n".join(source.stanza(release) for source in self.sources)

    def mirror(self, pocket: str = "") -> str:
        """The first address for a pocket; the release's own when that pocket has none."""
        for wanted in (pocket, ""):
            for source in self.sources:
                if source.pocket == wanted:
                    return source.uri
        raise AssertionError("sources always hold a release")


def read_host(
    *,
    mirror: str | None = None,
    security_mirror: str | None = None,
    etc: Path = Path("/etc"),
    tools: bool = True,
) -> HostInputs:
    """Look at this machine. `mirror` is the value of NESTLAB_DEBIAN_MIRROR, which wins over what apt is told here.

    `tools=False` leaves tool versions out (images of kind `initramfs` do not need them).
    Raises HostLacks when this is not Debian and no mirror is given.
    """
    if mirror:
        sources = _from_mirror(mirror.rstrip("/"), security_mirror)
    elif _os_id(etc) == "debian":
        sources = tuple(_from_apt(etc / "apt"))
    else:
        sources = ()
    if not any(source.pocket == "" for source in sources):
        raise HostLacks(
            "no Debian package source is known: this host's apt is not set up for Debian",
            hint="set NESTLAB_DEBIAN_MIRROR to a Debian mirror, such as the one your site uses (http://.../debian)",
        )
    return HostInputs(sources=sources, tools=tool_versions() if tools else {}, assets=assets_digest())


def tool_versions() -> dict[str, str]:
    """Versions of the programs whose output ends up in a disk image."""
    mke2fs = need("mke2fs", why="make file systems", package="e2fsprogs")
    qemu_img = need("qemu-img", why="make disk images", package="qemu-utils")
    return {
        "mke2fs": run([mke2fs, "-V"]).stderr.split("\n")[0],
        "qemu-img": run([qemu_img, "--version"]).stdout.split("\n")[0],
    }


def assets_digest() -> str:
    """Digest of everything below this folder that shapes an image: names, modes (executable or not) and contents."""
    here = Path(__file__).parent
    digest = hashlib.sha256()
    for path in sorted(here.rglob("*")):
        if path.is_file() and path.suffix not in (".pyc", ".md"):
            mode = "x" if path.stat().st_mode & 0o100 else "-"
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            digest.update(f"{path.relative_to(here)}\0{mode}\0{content}\n".encode())
    return digest.hexdigest()


def _from_mirror(mirror: str, security_mirror: str | None) -> tuple[AptSource, ...]:
    def source(uri: str, pocket: str) -> AptSource:
        return AptSource(uri=uri, pocket=pocket, components=("main",), signed_by=KEYRING)

    found = [source(mirror, ""), source(mirror, "-updates")]
    if security_mirror:
        found.append(source(security_mirror.rstrip("/"), "-security"))
    return tuple(found)


def _os_id(etc: Path) -> str:
    try:
        text = (etc / "os-release").read_text()
    except FileNotFoundError:
        return ""
    match = re.search(r'^ID="?([a-z]+)"?$', text, re.MULTILINE)
    return match[1] if match else ""


def _from_apt(apt: Path) -> Iterator[AptSource]:
    """The Debian archives among apt's sources; third-party ones and those of sid and testing are left out."""
    seen = set()
    for uri, suite, components, signed_by in _entries(apt):
        match = _SUITE.match(suite)
        known = match and match["base"] not in _NOT_RELEASES and "main" in components
        if not match or not known or not re.match(r"(https?|ftp|file|mirror\+\w+|tor\+https?):", uri):
            continue
        pocket = match["pocket"] or ""
        if "/debian" not in uri and pocket == "" and not _is_debian_release(match["base"]):
            continue
        source = AptSource(uri=uri.rstrip("/"), pocket=pocket, components=("main",), signed_by=signed_by)
        if source not in seen:
            seen.add(source)
            yield source


def _is_debian_release(name: str) -> bool:
    return name in {"stable", "oldstable", "bullseye", "bookworm", "trixie", "forky", "duke"}


def _entries(apt: Path) -> Iterator[tuple[str, str, tuple[str, ...], str]]:
    """(uri, suite, components, signed-by) of each enabled source, in apt's order of reading."""
    parts = sorted((apt / "sources.list.d").glob("*")) if (apt / "sources.list.d").is_dir() else []
    for path in [apt / "sources.list", *parts]:
        if path.suffix == ".list" and path.is_file():
            yield from _one_line_entries(path.read_text())
        elif path.suffix == ".sources" and path.is_file():
            yield from _deb822_entries(path.read_text())


def _one_line_entries(text: str) -> Iterator[tuple[str, str, tuple[str, ...], str]]:
    for line in text.splitlines():
        match = re.match(
            r"\s*deb\s+(?:\[(?P<options>[^\]]*)\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)\s*(?P<rest>[^#]*)", line
        )
        if match:
            signed = re.search(r"signed-by=(\S+)", match["options"] or "")
            yield match["uri"], match["suite"], tuple(match["rest"].split()), signed[1] if signed else ""


def _deb822_entries(text: str) -> Iterator[tuple[str, str, tuple[str, ...], str]]:
    plain = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    for stanza in re.split(r"\n\s*\n", plain):
        fields: dict[str, str] = {}
        for line in re.sub(r"\n[ \t]+", " ", stanza).splitlines():
            name, colon, value = line.partition(":")
            if colon:
                fields[name.strip().lower()] = value.strip()
        if "deb" not in fields.get("types", "").split() or fields.get("enabled", "yes").lower() in ("no", "false"):
            continue
        # an inline key (a whole PGP block) cannot be named; the keyring that signs Debian stands in for it
        signed = fields.get("signed-by", "")
        signed = KEYRING if "BEGIN PGP" in signed else signed
        for uri in fields.get("uris", "").split():
            for suite in fields.get("suites", "").split():
                yield uri, suite, tuple(fields.get("components", "").split()), signed
