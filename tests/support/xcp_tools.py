"""XCP-ng's other tools, restated apart from the code that calls them: a judge of one call at a time.

From the XCP-ng guide on guest Secure Boot, varstored's tools (varstore-*) and xen-cmdline of XenServer's python-libs.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|VM-UUID"
_GUID = r"8be4df61-93ca-11d2-aa0d-00e098032b8c|d719b2cb-3d3a-4596-a3bc-dad00e67656f"
_NAME = r"PK|KEK|db|dbx"
_FILE = r"/[^ ]+"
_CERTS = rf"default|{_FILE}"

_FOUR = rf"( ({_CERTS})){{1,3}}|( ({_CERTS})){{3}} (latest|none|{_CERTS})"

# The whole of a call, its words joined by a space.
_CALLS = {
    "secureboot-certs": rf"clear|report|install( --user-agent=\S+)?({_FOUR})?",
    "varstore-ls": rf"({_UUID})",
    "varstore-get": rf"({_UUID}) ({_GUID}) ({_NAME})",
    "varstore-set": rf"({_UUID}) ({_GUID}) ({_NAME}) 0x27 {_FILE}\.auth",
    "varstore-rm": rf"({_UUID}) ({_GUID}) ({_NAME})",
    "varstore-sb-state": rf"({_UUID}) (setup|user)",
    "/opt/xensource/libexec/create-auth": rf"(-c {_FILE} -k {_FILE} )?({_NAME}) {_FILE}\.auth( {_FILE})+",
    "/opt/xensource/libexec/xen-cmdline": r"--(set|delete|get)-(xen|dom0)( \S+)+|--list-(xen|dom0)",
}  # fmt: skip


def problem(words: Sequence[str]) -> str:
    """What is wrong with a call; nothing when it is right, or of another program."""
    name, *rest = words
    if name not in _CALLS:
        return ""
    call = " ".join(rest)
    if re.fullmatch(_CALLS[name], call) is None:
        return f"{name} does not take: {call}"
    wrong = "db" if "8be4df61" in call else "PK|KEK"
    if re.search(rf" ({wrong})x?( |$)", call) and re.search(_GUID, call):
        return f"{name}: the variable belongs to the other GUID: {call}"
    return ""
