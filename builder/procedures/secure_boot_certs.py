"""The certificates that a pool gives to its UEFI guests: the default ones, or one's own, several for a variable too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

from builder.errors import LabError
from builder.model.host import Host, World
from builder.model.lab import Value
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
    Words,
    holds,
    run,
    same,
)  # fmt: skip
from builder.procedures.asking import ask, inventory

FOLDER = "/var/lib/nestlab/secure-boot"
SIGNER = f"{FOLDER}/signer.pem"
CREATE_AUTH = "/opt/xensource/libexec/create-auth"
NAMES = ("PK", "KEK", "db", "dbx")

# What each file is, one a line: path, kind (pem, der, auth, other, absent), whether it is within its time, its subject,
# and the certificate's digest, or whether the .auth file has a signature behind the 24 bytes of its header.
# A .auth file is a time (16 bytes), a certificate header of type 0x0ef1, and the GUID of PKCS#7 (UEFI 2.10, 8.2.2).
JUDGE = r"""
for path in "$@"; do
  kind=other time=- subject= mark=-
  if [ ! -r "$path" ]; then kind=absent
  elif openssl x509 -inform PEM -in "$path" -noout 2>/dev/null; then kind=pem
  elif openssl x509 -inform DER -in "$path" -noout 2>/dev/null; then kind=der
  elif [ "$(od -An -tx1 -j22 -N18 "$path" | tr -d ' \n')" = f10e9dd2af4adf68ee498aa9347d375665a7 ]; then kind=auth
  fi
  case "$kind" in
  pem | der)
    openssl x509 -inform "$kind" -in "$path" -noout -checkend 0 >/dev/null && time=valid || time=expired
    subject=$(openssl x509 -inform "$kind" -in "$path" -noout -subject -nameopt RFC2253 | sed 's/^subject= *//')
    mark=$(openssl x509 -inform "$kind" -in "$path" -noout -fingerprint -sha256 | sed 's/.*=//')
    ;;
  auth) [ "$(od -An -tu4 -j16 -N4 "$path")" -gt 24 ] && mark=signed || mark=unsigned ;;
  esac
  printf '%s\t%s\t%s\t%s\t%s\n' "$path" "$kind" "$time" "$subject" "$mark"
done
"""
# The pool's field is a tar file in base64: its files with their digests. $1 is the field's value, on stdin.
_HELD = r"""
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
base64 -d 2>/dev/null | tar -x -C "$folder" 2>/dev/null
cd "$folder" && find . -name '*.auth' | sort | while read -r file; do
  echo "$(basename "$file" .auth) $(sha256sum <"$file" | cut -d' ' -f1)"
done
:
"""
# What the pool has now becomes files, so that it can be installed again.
_KEEP = f"""\
set -e
[ ! -e {FOLDER}/before ] || exit 0
mkdir -p -m 0700 {FOLDER}/before
xe pool-param-get uuid="$1" param-name="$2" | base64 -d | tar -x -C {FOLDER}/before
"""


def _or_files(*known: str) -> AfterValidator:
    """One of these words, or files. Raises ValueError for anything else."""

    def check(words: tuple[str, ...]) -> tuple[str, ...]:
        if (len(words) == 1 and words[0] in known) or (words and all(word.startswith("/") for word in words)):
            return words
        raise ValueError(
            f"{','.join(words) or 'nothing'} is neither {' nor '.join(known)} nor files by their whole path"
        )

    return AfterValidator(check)


class Asked(Options):
    PK: Annotated[Words, _or_files("default")] = Field(
        ("default",), description="default, or a certificate or .auth file of one's own (one only)"
    )
    KEK: Annotated[Words, _or_files("default")] = Field(
        ("default",), description="default, or files, with commas: PEM, DER or .auth"
    )
    db: Annotated[Words, _or_files("default")] = Field(
        ("default",), description="default, or files of those who may sign what guests boot"
    )
    dbx: Annotated[Words, _or_files("latest", "default", "none")] = Field(
        ("latest",), description="what is revoked: latest, a file (an old one for an old guest), or none"
    )
    signer: str = Field("", pattern=r"^(/.*)?$", description="certificate that bundles are signed with; signer_key=")
    signer_key: str = Field("", pattern=r"^(/.*)?$", description="its private key, a file on the host")


class Judged(Value):
    """A file on the host. `kind` is pem, der, auth, other or absent; `time` valid or expired, for certificates. `mark`:
    a certificate's digest; signed or unsigned, for .auth files."""

    kind: str
    time: str
    subject: str
    mark: str = "-"


class CertsState(State):
    """`held` is what the pool has: variable -> digest of its .auth file. `field` is where XAPI keeps it. `own`: the
    .auth file that is to be installed for a variable, and its digest, empty while it is not made yet."""

    passing: ClassVar[frozenset[str]] = frozenset({"pool", "field", "files", "own", "tools"})

    pool: str
    field: str
    held: Mapping[str, str]
    files: Mapping[str, Judged]
    own: Mapping[str, tuple[str, str]]
    tools: bool


class _Xe(Way[Asked, CertsState]):
    state = CertsState
    sample = CertsState(pool="POOL-UUID", field="uefi-certificates", held={}, files={}, own={}, tools=True)

    def look(self, host: Host, asked: Asked) -> CertsState:
        pool = xe.pool(host)
        field = _field(host)
        paths = [word for name in NAMES for word in getattr(asked, name) if word.startswith("/")]
        files = judge(host, [*paths, *([asked.signer] if asked.signer else [])])
        value = ask(host, "xe", "pool-param-get", f"uuid={pool}", f"param-name={field}")
        return CertsState(
            pool=pool,
            field=field,
            held=_held(host, value),
            files=files,
            own={name: _own(host, name, asked, files) for name in NAMES if _is_own(name, asked)},
            tools=host.run(["sh", "-c", f"command -v secureboot-certs && test -x {CREATE_AUTH}"]).ok,
        )

    def refusals(self, state: CertsState, asked: Asked) -> tuple[Refusal, ...]:
        found = []
        if not state.tools:
            found.append(Refusal(code="no-tools", message=f"the host has no secureboot-certs, or no {CREATE_AUTH}",
                                 hint="XCP-ng 8.2.1 or later, up to date, has them"))  # fmt: skip
        for path, judged in state.files.items():
            if judged.kind in {"absent", "other"}:
                what = "is not there" if judged.kind == "absent" else "is neither a certificate nor an .auth file"
                found.append(Refusal(code="no-certificate", message=f"{path} {what}",
                                     hint="PEM and DER certificates do, and what create-auth made"))  # fmt: skip
        if len(asked.PK) > 1:
            found.append(Refusal(code="one-pk", message="PK holds one certificate: of several the first would count",
                                 hint="several belong into KEK, db or dbx"))  # fmt: skip
        bundled = {path: name for name in NAMES if len(getattr(asked, name)) > 1 for path in getattr(asked, name)}
        found += [
            Refusal(code="bundle", message=f"{bundled[path]}: {path}, an .auth file, cannot be bundled with others",
                    hint="bundle the certificates that it was made of")
            for path, judged in state.files.items() if judged.kind == "auth" and path in bundled
        ]  # fmt: skip
        if bool(asked.signer) != bool(asked.signer_key):
            found.append(Refusal(code="signer", message="signer and signer_key go together", hint="give both, or none"))
        found += _platform_key(state, asked)
        return tuple(found)

    def advice(self, state: CertsState, asked: Asked) -> tuple[str, ...]:
        said = []
        if asked.dbx == ("none",):
            said.append(
                "without dbx whatever was signed with a revoked certificate still boots: Secure Boot is of little use"
            )
        elif _is_own("dbx", asked):
            said.append("a dbx of one's own is as new as its file: what was revoked since still boots")
        late = [path for path, judged in state.files.items() if judged.time == "expired"]
        if late:
            said.append(f"{', '.join(late)} is out of its time: firmware does not look at that, others do")
        return tuple(said)

    def actions(self, state: CertsState, asked: Asked) -> tuple[Action, ...]:
        if self._as_asked(state, asked):
            return ()
        keep = (run("sh", "-c", _KEEP, "sh", state.pool, state.field),) if state.held else ()
        if not state.own and asked.dbx != ("none",) and state.field.startswith("custom"):
            return (*keep, run("secureboot-certs", "clear", seconds=300))
        todo: list[Action] = [*keep, run("mkdir", "-p", "-m", "0700", FOLDER)]
        if asked.signer and state.files[asked.signer].kind == "der":
            todo.append(_as_pem(asked.signer, SIGNER))
        for name, (path, digest) in state.own.items():
            todo += () if digest else _made(name, path, state, asked)
        words = [state.own[name][0] if name in state.own else getattr(asked, name)[0] for name in NAMES]
        install = run("secureboot-certs", "install", *words, seconds=600,
                      hint="a download that is refused: --user-agent, or fetch the files and name them")  # fmt: skip
        return (*todo, install)

    @staticmethod
    def _as_asked(state: CertsState, asked: Asked) -> bool:
        """Whether the pool has it: one's own by their digests, the default ones by being there (8.2), or by there being
        none of one's own (8.3)."""
        newer = state.field.startswith("custom")
        if not state.own and asked.dbx != ("none",) and newer:
            return not state.held
        for name in NAMES:
            if name in state.own:
                fine = state.held.get(name) == state.own[name][1] != ""
            elif getattr(asked, name) == ("none",):
                fine = name not in state.held
            else:
                fine = newer or name in state.held
            if not fine:
                return False
        return True

    def undo(self, state: CertsState, before: CertsState, asked: Asked) -> tuple[Action, ...]:  # noqa: ARG002
        if state.held == before.held:
            return (run("rm", "-rf", "--", FOLDER),) if before.held else ()
        if not before.held:
            disk = (
                () if before.field.startswith("custom") else (run("sh", "-c", "rm -f -- /var/lib/uefistored/*.auth"),)
            )
            clear = run("secureboot-certs", "clear", seconds=300)
            return (clear, *disk, run("rm", "-rf", "--", FOLDER))
        missing = {"dbx": "none"}
        words = [
            f"{FOLDER}/before/{name}.auth" if name in before.held else missing.get(name, "default") for name in NAMES
        ]
        return (run("secureboot-certs", "install", *words, seconds=600), run("rm", "-rf", "--", FOLDER))

    def check(self, world: World, host: Host, asked: Asked) -> tuple[Evidence, ...]:  # noqa: ARG002
        now = self.look(host, asked)
        report = [*filter(None, ask(host, "secureboot-certs", "report", timeout=120).splitlines()), ""]
        found = [holds("secureboot-certs report", "an answer", report[0], bool(report[0]))]
        for name, (path, digest) in now.own.items():
            found.append(same(f"{name} that the pool has: {path}", digest, now.held.get(name)))
        if not now.own and asked.dbx != ("none",) and now.field.startswith("custom"):
            return (*found, same("certificates of the pool's own", "none", " ".join(sorted(now.held)) or "none"))
        rest = [name for name in NAMES if name not in now.own and not now.field.startswith("custom")]
        wanted = {name: getattr(asked, name) != ("none",) for name in rest}
        return (*found, *(same(f"the pool has {name}", there, name in now.held) for name, there in wanted.items()))


def _is_own(name: str, asked: Asked) -> bool:
    """Whether a variable is made of files."""
    return bool(getattr(asked, name)[0].startswith("/"))


def _own(host: Host, name: str, asked: Asked, files: Mapping[str, Judged]) -> tuple[str, str]:
    """The .auth file for a variable: the one that is given, or one that is called by what goes into it."""
    words: tuple[str, ...] = getattr(asked, name)
    given = len(words) == 1 and words[0] in files and files[words[0]].kind == "auth"
    path = words[0]
    if not given:
        parts = [*words, *filter(None, (asked.signer, asked.signer_key))]
        digest = host.run(["sh", "-c", 'cat -- "$@" | sha256sum', "sh", *parts]).stdout[:12]
        path = f"{FOLDER}/{name}-{digest}.auth"
    made = host.run(["sha256sum", path])
    return path, made.stdout.split()[0] if made.ok else ""


def _made(name: str, path: str, state: CertsState, asked: Asked) -> list[Action]:
    """What makes a variable's file: DER becomes PEM, and create-auth bundles and signs."""
    todo: list[Action] = []
    pems = []
    for number, word in enumerate(getattr(asked, name)):
        pem = word
        if word in state.files and state.files[word].kind == "der":
            pem = f"{FOLDER}/{name}-{number}.pem"
            todo.append(_as_pem(word, pem))
        pems.append(pem)
    signer = SIGNER if asked.signer and state.files[asked.signer].kind == "der" else asked.signer
    signed = ("-c", signer, "-k", asked.signer_key) if signer else ()
    return [*todo, run(CREATE_AUTH, *signed, name, path, *pems)]


def _as_pem(der: str, pem: str) -> Action:
    return run("openssl", "x509", "-in", der, "-inform", "DER", "-outform", "PEM", "-out", pem)


def _platform_key(state: CertsState, asked: Asked) -> list[Refusal]:
    """A PK of one's own that firmware would not take: in setup mode too it has to be signed with its own key, and the
    daemon of a new guest ends when it is not."""
    path = asked.PK[0]
    judged = state.files.get(path)
    if judged is None or judged.kind in {"absent", "other"} or len(asked.PK) > 1:
        return []
    if judged.kind == "auth":
        fine = judged.mark != "unsigned"
    else:
        fine = bool(asked.signer) and state.files[asked.signer].mark == judged.mark
    if fine:
        return []
    return [Refusal(code="pk-signature", message=f"PK, {path}, would not be signed by itself: no new guest would start",
                    hint="signer= and signer_key= of the same certificate sign it, and the others; or make it apart: "
                    f"{CREATE_AUTH} -c PK.pem -k PK.key PK PK.auth PK.pem, and name PK.auth")]  # fmt: skip


def judge(host: Host, paths: list[str]) -> dict[str, Judged]:
    """What openssl on the host says of these files."""
    if not paths:
        return {}
    rows = [line.split("\t") for line in ask(host, "sh", "-c", JUDGE, "sh", *paths).splitlines()]
    return {row[0]: Judged(kind=row[1], time=row[2], subject=row[3], mark=row[4]) for row in rows if len(row) == 5}


def _held(host: Host, value: str) -> dict[str, str]:
    if not value.strip():
        return {}
    out = host.run(["sh", "-c", _HELD], stdin=value.encode()).stdout
    return {words[0]: words[1] for line in out.splitlines() if len(words := line.split()) == 2}


def _field(host: Host) -> str:
    """Where XAPI keeps them: 8.3 has a field for one's own beside the read-only one of 8.2. Raises LabError."""
    return "custom-uefi-certificates" if is_newer(host) else "uefi-certificates"


def is_newer(host: Host) -> bool:
    """Whether varstored looks after guests' variables, as from 8.3 on, not uefistored. Raises LabError."""
    found = inventory(host, "PRODUCT_VERSION", r"(\d+)\.(\d+)")
    if found is None:
        raise LabError(f"{host.name}: /etc/xensource-inventory names no PRODUCT_VERSION", hint="is this XCP-ng?")
    return (int(found[1]), int(found[2])) >= (8, 3)


PROCEDURE = Procedure(
    name="secure-boot-certs",
    title="Certificates of a pool for Secure Boot of its guests",
    summary="PK, KEK, db and dbx that UEFI guests of the pool get at their first start: the default ones, or one's "
    "own; several for a variable are bundled and, with signer=, signed. Guests that have theirs already keep them: see "
    "secure-boot. Undone, the pool has what it had; on 8.2 the other hosts of the pool keep files in "
    "/var/lib/uefistored, to be removed by hand.",
    options=Asked,
    ways={"xe": _Xe()},
    sources=(
        "XCP-ng guide: Guest UEFI Secure Boot",
        "UEFI specification 2.10: 8.2.2, 32.4",
        "openssl-x509(1)",
        "varstored: create-auth.c, handler.c; uefistored: authlib.c",
    ),
    refuses={
        "no-tools": "the host has no secureboot-certs or create-auth",
        "no-certificate": "a file is not there, or neither a certificate nor an .auth file",
        "one-pk": "several certificates for PK",
        "bundle": "an .auth file among several files for a variable",
        "pk-signature": "a PK of one's own that is not signed with its own key, which firmware does not take",
        "signer": "signer without signer_key, or the other way round",
    },
    drill=Drill(reason="it needs an XCP-ng host; openssl's part is tested with real certificates"),
    dead=(
        Dead(
            says="secureboot-certs install downloads the certificates",
            why="so on 8.2; from 8.3 on, with varstored 1.2.0-3.4 or later, hosts bring them, and installing nothing "
            "(secureboot-certs clear) is what gives guests the defaults",
        ),
        Dead(
            says="secureboot-certs install PK.cer default default latest",
            why="firmware takes a PK only with its own key's signature: the tool asks for --pk-priv, here it is "
            "signer= and signer_key=",
        ),
        Dead(
            says="copy certificates to /var/lib/uefistored on each host",
            why="8.2 writes them there by itself when a UEFI guest starts, 8.3 when they are installed",
        ),
    ),
)
