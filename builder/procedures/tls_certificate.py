"""The certificate that XAPI shows to its clients."""

from __future__ import annotations

import re
from typing import ClassVar

from pydantic import Field

from builder.model.host import Host, World
from builder.procedures import xe
from builder.procedures.api import (
    Action,
    Dead,
    Drill,
    Evidence,
    Options,
    Procedure,
    Refusal,
    State,
    Way,
    holds,
    run,
    same,
    unmet,
)
from builder.procedures.asking import ask, xe_host

# Everything that can be said of a certificate and its key, one `name=value` a line; nothing secret among it.
# `openssl verify` is content with the nearest issuer that it is told to trust, and does not look at what lies beyond;
# 1.0.2 (XCP-ng 8) also ends well with an expired issuer. So each certificate of the chain is looked at by itself:
# whether it is in its time, and whether it signs the certificate or one that does, in whatever order they are. The
# latter at a time that is one of both: one answer does not hide the other.
_JUDGE = r"""
cert=$1 key=$2 chain=$3
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
print() { openssl x509 -noout -fingerprint -sha256 <"$1" 2>/dev/null; }
subject() {
  name=$(openssl x509 -noout -subject -nameopt RFC2253 <"$1" 2>/dev/null | sed 's/^subject= *//')
  echo "${name:-what openssl cannot read}"
}
since() { date -d "$(openssl x509 -noout -startdate <"$1" 2>/dev/null | cut -d= -f2)" +%s; }
timely() { openssl x509 -noout -checkend 0 <"$1" >/dev/null 2>&1 && [ "$(since "$1")" -le "$(date +%s)" ]; }
signs() {
  at=$(since "$1")
  later=$(since "$2")
  [ "$later" -le "$at" ] || at=$later
  said=$(openssl verify -attime "$at" -partial_chain -trusted "$1" "$2" 2>&1) || return 1
  case "$said" in *"error "[0-9]*) return 1 ;; esac
}
about() { openssl x509 -noout "$@" <"$cert" 2>/dev/null; }
public=$(about -pubkey)
echo "fingerprint=$(about -fingerprint -sha256 | cut -d= -f2)"
echo "bits=$(about -text | sed -n 's/.*Public-Key: (\([0-9]*\) bit).*/\1/p')"
echo "signed=$(about -text | sed -n 's/^ *Signature Algorithm: //p' | head -1)"
echo "rsa=$(about -text | grep -c 'Public Key Algorithm: rsaEncryption')"
[ -n "$public" ] && [ "$public" = "$(openssl pkey -pubout <"$key" 2>/dev/null)" ] && echo matches=yes || echo matches=no
timely "$cert" && echo valid=yes || echo valid=no
[ -n "$chain" ] || { echo chain=none; exit 0; }
awk -v to="$folder" '/-----BEGIN .*CERTIFICATE-----/ { n++ } n { print >(to "/" n ".pem") }' "$chain" 2>/dev/null
cp "$cert" "$folder/signed" 2>/dev/null
late='' loose='' found=''
for each in "$folder"/*.pem; do
  [ -e "$each" ] || continue
  found=yes
  timely "$each" || late="$late${late:+; }$(subject "$each")"
  [ "$(print "$each")" != "$(print "$cert")" ] || rm "$each"
done
more=yes n=0
while [ -n "$more" ]; do
  more=
  for each in "$folder"/*.pem; do
    for below in "$folder"/signed*; do
      if [ -e "$each" ] && signs "$each" "$below"; then mv "$each" "${below%/*}/signed-$((n += 1))"; more=yes; fi
    done
  done
done
for each in "$folder"/*.pem; do
  [ ! -e "$each" ] || loose="$loose${loose:+; }$(subject "$each")"
done
[ -z "$late" ] || echo "late=$late"
[ -z "$loose" ] || echo "loose=$loose"
[ -n "$found" ] && [ -z "$late$loose" ] && echo chain=yes || echo chain=no
"""
_SHOWN = (
    "openssl s_client -connect 127.0.0.1:443 </dev/null 2>/dev/null | openssl x509 -noout -fingerprint -sha256 "
    "2>/dev/null | cut -d= -f2"
)
# The fingerprint that is shown, once it is this one, or none of these; or the last one after half a minute.
_BECOMES = f'for i in $(seq 30); do now=$({_SHOWN}); [ "$now" = "$1" ] && break; sleep 1; done; echo "$now"'
_LEAVES = (
    f'for i in $(seq 30); do now=$({_SHOWN}); case "  $* " in *" $now "*) sleep 1 ;; *) break ;; esac; done; '
    'echo "$now"'
)
# Fingerprints of the certificates in a file that are not shown beside the host's own.
_UNSHOWN = r"""
prints() {
  awk -v tell="openssl x509 -noout -fingerprint -sha256 2>/dev/null" '/-----BEGIN .*CERTIFICATE-----/ { on = 1 }
    on { print | tell } /-----END .*CERTIFICATE-----/ { on = 0; close(tell) }' | cut -d= -f2
}
shown=$(openssl s_client -connect 127.0.0.1:443 -showcerts </dev/null 2>/dev/null | prints)
prints 2>/dev/null <"$1" | while read -r each; do case "$shown" in *"$each"*) ;; *) echo "$each" ;; esac; done
"""


class Asked(Options):
    certificate: str = Field(pattern=r"^/", description="the certificate's file on the host, PEM")
    key: str = Field(pattern=r"^/", description="the file of its private key on the host, PEM; may go away afterwards")
    chain: str = Field("", pattern=r"^(/.*)?$", description="the file of the certificates between it and the root, PEM")


class _State(State):
    """`shown` is the fingerprint that the host shows on port 443, `unshown` those of the chain's that it does not. The
    rest is of the files."""

    passing: ClassVar[frozenset[str]] = frozenset(
        {"shown", "unshown", "host", "ha", "fingerprint", "judged", "has_reset"}
    )

    shown: str
    host: str
    ha: str
    fingerprint: str
    judged: dict[str, str]
    has_reset: bool
    unshown: tuple[str, ...] = ()


class _Xe(Way[Asked, _State]):
    state = _State
    sample = _State(
        shown="11:22", host="HOST-UUID", ha="false", fingerprint="33:44", has_reset=True,
        judged={"bits": "2048", "rsa": "1", "matches": "yes", "valid": "yes", "signed": "sha256WithRSAEncryption"},
    )  # fmt: skip

    def look(self, host: Host, asked: Asked) -> _State:
        judged = judge(host, asked)
        helped = host.run(["xe", "help", "host-reset-server-certificate"])
        return _State(
            shown=ask(host, "sh", "-c", _SHOWN).strip(),
            host=xe_host(host),
            ha=xe.param(host, "pool", xe.pool(host), "ha-enabled"),
            fingerprint=judged.pop("fingerprint", ""),
            judged=judged,
            has_reset=helped.ok and "host-reset-server-certificate" in helped.stdout,
            unshown=unshown(host, asked),
        )

    def refusals(self, state: _State, asked: Asked) -> tuple[Refusal, ...]:
        found = judge_refusals(state.judged, asked)
        if state.ha != "true":
            return found
        return (*found, Refusal(code="ha-on", message="XAPI changes no certificate while high availability is on",
                                hint="xe pool-ha-disable before, xe pool-ha-enable after"))  # fmt: skip

    def actions(self, state: _State, asked: Asked) -> tuple[Action, ...]:
        if state.shown == state.fingerprint and not state.unshown:
            return ()
        words = [f"certificate={asked.certificate}", f"private-key={asked.key}"]
        words += [f"certificate-chain={asked.chain}"] if asked.chain else []
        return (run("xe", "host-server-certificate-install", *words, f"uuid={state.host}", seconds=120),)

    def undo(self, state: _State, before: _State, asked: Asked) -> tuple[Action, ...]:  # noqa: ARG002
        """A certificate cannot be read back with its key: the host makes itself a new one, as it did at its start."""
        if state.shown in ("", before.shown):
            return ()
        if state.has_reset:
            return (run("xe", "host-reset-server-certificate", f"uuid={state.host}", seconds=120),)
        return (run("xe", "host-emergency-reset-server-certificate", seconds=120),)

    def check(self, world: World, host: Host, asked: Asked) -> tuple[Evidence, ...]:  # noqa: ARG002
        mine = judge(host, asked).get("fingerprint", "")
        shown = ask(host, "sh", "-c", _BECOMES, "sh", mine, timeout=120).strip()
        found = [holds("fingerprint (SHA-256) shown on port 443", mine or "that of a certificate", shown or "none",
                       bool(mine) and shown == mine)]  # fmt: skip
        if asked.chain:
            found.append(same("certificates of the chain that are not shown with it", "none",
                              " ".join(unshown(host, asked)) or "none"))  # fmt: skip
        return tuple(found)

    def check_undone(self, world: World, host: Host, before: _State, asked: Asked) -> tuple[Evidence, ...]:  # noqa: ARG002
        """The files may have gone away since: the journal knows what was installed."""
        mine = {judge(host, asked).get("fingerprint", ""), before.fingerprint} - {"", before.shown}
        shown = ask(host, "sh", "-c", _LEAVES, "sh", *sorted(mine), timeout=120).strip()
        return (same("the host shows another certificate than the one installed", True,
                     bool(shown) and shown not in mine),)  # fmt: skip


def unshown(host: Host, asked: Asked) -> tuple[str, ...]:
    """Fingerprints of the chain's certificates that the host does not show with its own."""
    return tuple(ask(host, "sh", "-c", _UNSHOWN, "sh", asked.chain, timeout=120).split()) if asked.chain else ()


def judge(host: Host, asked: Asked) -> dict[str, str]:
    """What openssl on the host says of the files."""
    out = ask(host, "sh", "-c", _JUDGE, "sh", asked.certificate, asked.key, asked.chain)
    return dict(line.split("=", 1) for line in out.splitlines() if "=" in line)


def judge_refusals(judged: dict[str, str], asked: Asked) -> tuple[Refusal, ...]:
    """XAPI's own rules, told before anything is tried, and all of them at once."""
    if not judged.get("bits"):
        return (Refusal(code="no-certificate", message=f"{asked.certificate} is no certificate that openssl can read",
                        hint="PEM is asked for: openssl x509 -inform DER turns a binary one into it"),)  # fmt: skip
    rules = (
        (judged.get("matches") == "yes", "not-its-key", f"{asked.key} is not the key of {asked.certificate}",
         "a request made with openssl req -new -key KEY is for that key alone"),
        (judged.get("rsa") == "1" and 2048 <= int(judged["bits"]) <= 4096, "key-size",
         f"the key is not RSA of 2048 to 4096 bits ({judged['bits']} bits)", "ask for a certificate on such a key"),
        (judged.get("valid") == "yes", "expired", "the certificate is out of its time", "ask for a new one"),
        (re.match(r"sha(256|512)With", judged.get("signed", "")) is not None, "signature",
         f"it is signed with {judged.get('signed')}: SHA-256 or SHA-512 is asked for", "ask its issuer for another"),
        (judged.get("chain", "none") != "no", "chain", _told_of_chain(judged, asked),
         "the chain holds the issuers' certificates, the nearest first, none of them expired"),
    )  # fmt: skip
    return unmet(rules)


def _told_of_chain(judged: dict[str, str], asked: Asked) -> str:
    """What is wrong with it, each certificate by its subject."""
    told = [f"{judged['late']} is out of its time"] if judged.get("late") else []
    if judged.get("loose"):
        told.append(f"{judged['loose']} signs neither {asked.certificate} nor an issuer of it")
    if not told:
        return f"{asked.chain} does not lead to {asked.certificate}: there is no certificate in it"
    return f"{asked.chain} does not lead to {asked.certificate}: {', and '.join(told)}"


PROCEDURE = Procedure(
    name="tls-certificate",
    title="Certificate of an XCP-ng host",
    summary="XAPI shows a certificate of yours instead of its self-signed one. What XAPI would not take is refused "
    "before. A request for one from the host's own key: openssl req -new -key /etc/xensource/xapi-ssl.pem -subj "
    "'/CN=host.example.org/' -out host.csr. Undone, the host makes itself a new self-signed certificate.",
    options=Asked,
    ways={"xe": _Xe()},
    sources=("XCP-ng guide: TLS certificate for XCP-ng", "xapi: host.install_server_certificate"),
    refuses={
        "no-certificate": "openssl cannot read the certificate",
        "not-its-key": "the key is not the certificate's",
        "key-size": "the key is not RSA of 2048 to 4096 bits",
        "expired": "the certificate is out of its time",
        "signature": "it is not signed with SHA-256 or SHA-512",
        "chain": "a certificate of the chain is out of its time, or signs none that leads to it",
        "ha-on": "high availability is on",
    },
    drill=Drill(
        options={"certificate": "/root/host.crt", "key": "/root/host.key"},
        reason="it needs an XCP-ng host; openssl's part is tested with real keys and certificates",
    ),
    dead=(
        Dead(
            says="replace all before BEGIN RSA PRIVATE KEY in /etc/xensource/xapi-ssl.pem, then systemctl restart xapi",
            why="this was the way up to 8.1; since 8.2 XAPI keeps what clients trust in its database, and the call is "
            "the only one that tells it",
        ),
    ),
)
