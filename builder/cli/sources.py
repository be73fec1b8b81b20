"""Whether what a proof was made from is still as it was: told by git, and only in a checkout."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from pathlib import Path

from builder.errors import LabError
from builder.run import run

HERE = "kvm"
"""The L0 that labs run on; all others are exported to."""

# What decides whether a proof still holds; those who write proofs (`ci.proof`, `ci.nightly.variants`) go by these as
# well. Answers are judged in more cases than the shipped labs, so such a proof depends on all that writes them.
_ANSWERS = ("builder/hypervisors/kvm.py", "builder/images", "builder/render", "builder/model")
# A host that ran depends on what it was given: machine, answers, files and arguments, word for word as they are kept
# for these labs (tests fail when the code makes anything else of them), and on its checks; not on what it was watched
# by.
_LABS: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("debian", "image"): ("debian-dom0", "debian-dom0-uefi", "debian12-dom0"),
    ("debian", "medium"): ("debian-install", "debian-raid10"),
    ("xcpng", "medium"): ("xcp-ng-8.3", "xcpng-raid1"),
}
_CHECKS: Mapping[str, tuple[str, ...]] = {
    "debian": ("labs/checks/test_debian_dom0.py", "labs/checks/test_debian_installed.py"),
    "xcpng": ("labs/checks/test_xcpng.py",),
}
_RAN = ("builder/images", ":(exclude,glob)tests/golden/systems/**/boots.json")
EXPORTS = ("builder/hypervisors", "builder/render", "builder/model")
VARIANTS = (
    "builder/images",
    "builder/render",
    "builder/systems/debian",
    "answerfiles/debian",
    "ci/nightly/variant_cases.py",
    "ci/nightly/variant_machine.py",
)


def of_claim(system: str, l0: str, path: str) -> tuple[str, ...]:
    """The files and folders that a claim depends on, as git's pathspecs. `l0` is empty for answers that were judged. An
    export does not hold what is on the disks and media: of the system it has what its traits say (a system that has a
    file for these)."""
    if l0 == HERE and (system, path) in _LABS:
        kept = (f"tests/golden/{kind}/{lab}" for kind in ("labs", "systems") for lab in _LABS[system, path])
        return (*_RAN, *_CHECKS[system], *kept)
    if l0 in ("", HERE):
        return (*_ANSWERS, f"builder/systems/{system}", f"answerfiles/{system}", f"kickstarts/{system}", "labs/checks")
    return (*EXPORTS, f"builder/systems/{system}/traits.py")


@functools.cache
def digest(root: Path, *names: str) -> str | None:
    """sha256 over names and contents of the project's files there (16 hex digits); None where nobody can tell: without
    git or a checkout."""
    if not (root / ".git").exists():  # in a folder of somebody else's repository, git would answer for that
        return None
    try:
        listed = run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *names], cwd=root)
    except LabError:
        return None
    made = hashlib.sha256()
    for name in sorted(set(filter(None, listed.stdout.split("\0")))):
        if (root / name).is_file():
            made.update(f"{name}\0".encode() + hashlib.sha256((root / name).read_bytes()).digest())
    return made.hexdigest()[:16]


def is_fresh(root: Path, inputs: str, names: tuple[str, ...]) -> bool | None:
    """Whether they are what `inputs` was made from; None where nobody can tell."""
    now = digest(root, *names)
    return None if now is None else now == inputs
