"""An answer file written by hand, and a key for root, as edits of the medium that each installer understands.

Answers go into the initial RAM disk where the installer can read them there: that is the same on CD, on USB and over
the network. Where each installer looks: host-installer's init (XCP-ng), anaconda's `inst.ks=file:`, the Debian
installer's preseed/initrd, linuxrc's `autoyast=file:`, and the /install.sh that NetBSD's media start.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping, Sequence

from pydantic import TypeAdapter, ValidationError

from builder.media.edits import Arguments, Edit, Overlay, Put
from builder.media.errors import MediaError, WrongPath
from builder.media.initrd import OverlayFile
from builder.media.recognise import Family, Installer
from builder.model.texts import SshKey

_KEY: TypeAdapter[str] = TypeAdapter(SshKey)
_PRESEED = re.compile(r"^[ \t]*[a-z0-9][a-z0-9+.-]*[ \t]+[A-Za-z0-9_-]+/\S+", re.MULTILINE)
_LATE = re.compile(r"^[ \t]*\S+[ \t]+preseed/late_command\s", re.MULTILINE)
_GPG = ("no-repo-gpgcheck", "no-gpgcheck")  # host-installer stops at them when it has an answer file
_KEY_SCRIPT = "nestlab-keys.sh"
Maker = Callable[[str, Installer, Sequence[str]], tuple[Edit, ...]]


def public_key(text: str, where: str) -> str:
    """The one line of a public key's file. Raises WrongPath for a private key and for what is no key at all."""
    if "PRIVATE KEY-----" in text:
        raise WrongPath(f"{where} holds a private key", hint=f"give the public one: {where}.pub")
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    try:
        return _KEY.validate_python("\n".join(lines))
    except ValidationError:
        raise WrongPath(f"{where} is not a public key of ssh", hint="it is one line: ssh-ed25519 AAAA...") from None


def answer_edits(installer: Installer, answer: str, keys: Sequence[str] = ()) -> tuple[Edit, ...]:
    """What makes the installer of a medium take this answer file, and root of the new host accept these public keys.

    Raises MediaError when the text is no answer file of this installer, and when the medium has an unknown one.
    """
    make = _MAKERS.get(installer.family)
    if make is None:
        raise MediaError(
            "the medium's installer is not known, so neither is where it looks for answers",
            hint="put the file in with --add or --add-initrd, and name it with --append",
        )
    return make(answer, installer, keys)


def _demand(like: bool, what: str) -> None:
    if not like:
        raise MediaError(f"the answer file is not {what}", hint="this is what the medium's installer takes")


def _inside(name: str, text: str, *more: OverlayFile) -> Overlay:
    return Overlay((OverlayFile(f"/{name}", text.encode("utf-8", "surrogateescape"), 0o600, secret=True), *more))


def _xcpng(answer: str, _installer: Installer, keys: Sequence[str]) -> tuple[Edit, ...]:
    _demand("<installation" in answer or "<restore" in answer, "one for XCP-ng (<installation> or <restore>)")
    more: list[OverlayFile] = []
    if keys:
        end = answer.rfind("</installation>")
        if end < 0:
            raise MediaError("a restore takes no keys", hint="leave --ssh-key out")
        script = f'<script stage="filesystem-populated" type="url">file:///{_KEY_SCRIPT}</script>\n'
        answer = answer[:end] + script + answer[end:]
        more.append(OverlayFile(f"/{_KEY_SCRIPT}", _key_script("#!/bin/bash\nroot=$1\n", "$root", keys), 0o755))
    arguments = ("install", "rt_answerfile=file:///answerfile.xml")
    removed = ("answerfile=", "rt_answerfile=", "answerfile_generator=", *_GPG)
    return Arguments(arguments, remove=removed), _inside("answerfile.xml", answer, *more)


def _key_script(head: str, root: str, keys: Sequence[str]) -> bytes:
    folder = f"{root}/root/.ssh"
    lines = [f'mkdir -p -m 0700 "{folder}"', *(f'echo {shlex.quote(k)} >> "{folder}/authorized_keys"' for k in keys)]
    return (head + "\n".join([*lines, f'chmod 0600 "{folder}/authorized_keys"']) + "\n").encode()


def _rhel(answer: str, installer: Installer, keys: Sequence[str]) -> tuple[Edit, ...]:
    _demand(bool(answer.strip()) and not answer.lstrip().startswith("<"), "a kickstart")
    generation = int(found[0]) if (found := re.match(r"\d+", installer.release)) else 0
    if keys:
        # pykickstart's handlers: sshkey came with release 8. Numbers above 20 are Fedora's, which has had it for long.
        if generation in (6, 7):
            post = _key_script("", "", keys).decode()
            answer = f"{answer.rstrip()}\n\n%post\n{post}restorecon -R /root/.ssh || true\n%end\n"
        else:
            said = "".join(f"sshkey --username=root {shlex.quote(key)}\n" for key in keys)
            answer = said + answer
    prefix = "" if generation == 6 else "inst."
    return Arguments((f"{prefix}ks=file:/ks.cfg",), remove=("ks=", "inst.ks=")), _inside("ks.cfg", answer)


def _debian(answer: str, _installer: Installer, keys: Sequence[str]) -> tuple[Edit, ...]:
    _demand(_PRESEED.search(answer) is not None, "a preseed file")
    more: list[OverlayFile] = []
    if keys:
        if _LATE.search(answer):
            raise MediaError("the preseed file has a late_command, and there can be only one", hint="add the key there")
        more.append(OverlayFile(f"/{_KEY_SCRIPT}", _key_script("#!/bin/sh\n", "/target", keys), 0o755))
        answer = f"{answer.rstrip()}\nd-i preseed/late_command string sh /{_KEY_SCRIPT}\n"
    return Arguments(("auto=true", "priority=critical")), _inside("preseed.cfg", answer, *more)


def _suse(answer: str, installer: Installer, keys: Sequence[str]) -> tuple[Edit, ...]:
    _demand("<profile" in answer, "an AutoYaST profile (<profile>)")
    if installer.release.split(".")[0].isdigit() and int(installer.release.split(".")[0]) >= 16:
        raise MediaError(
            f"{installer.name} {installer.release} installs with Agama, which takes no file of its RAM disk",
            hint="serve the profile and give --append 'inst.auto=URL'",
        )
    if keys:
        raise MediaError("keys are part of an AutoYaST profile", hint="write authorized_keys of root in its <users>")
    return Arguments(("autoyast=file:///autoinst.xml",), remove=("autoyast=",)), _inside("autoinst.xml", answer)


def _netbsd(answer: str, _installer: Installer, keys: Sequence[str]) -> tuple[Edit, ...]:
    _demand(answer.startswith("#!"), "a script: NetBSD's media start /install.sh")
    if keys:
        raise MediaError("NetBSD's installer has no place for keys", hint="write them from your /install.sh")
    return (Put("/install.sh", answer.encode("utf-8", "surrogateescape"), "old", 0o555, secret=True),)


_MAKERS: Mapping[Family, Maker] = {
    "xcpng": _xcpng, "rhel": _rhel, "debian": _debian, "suse": _suse, "netbsd": _netbsd,
}  # fmt: skip
