# shellcheck shell=sh
# Part of every exported script. Nothing here changes anything by itself.
say() { printf '%s\n' "$*" >&2; }
fail() { say "error: $*"; exit 1; }
need() { command -v "$1" >/dev/null 2>&1 || fail "there is no $1 here: $2"; }

# How long an installation may take, in seconds, and how often to look.
LIMIT=${LIMIT:-7200}
PAUSE=${PAUSE:-5}

# await_end NAME HINT RUNS...: waits until the command RUNS... no longer says that the machine runs.
await_end() {
    awaited=$1 awaited_hint=$2 waited=0
    shift 2
    while "$@"; do
        [ "$waited" -lt "$LIMIT" ] || fail "$awaited still installs after $LIMIT seconds$awaited_hint"
        sleep "$PAUSE"
        waited=$((waited + PAUSE))
    done
}
