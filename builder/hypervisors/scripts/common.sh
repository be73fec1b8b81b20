# shellcheck shell=sh
# Part of every exported script. Nothing here changes anything by itself.
say() { printf '%s\n' "$*" >&2; }
fail() { say "error: $*"; exit 1; }
need() { command -v "$1" >/dev/null 2>&1 || fail "there is no $1 here: $2"; }

# How long an installation may take, in seconds, and how often to look.
LIMIT=${LIMIT:-7200}
PAUSE=${PAUSE:-5}
