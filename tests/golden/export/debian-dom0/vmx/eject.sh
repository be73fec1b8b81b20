#!/bin/sh
# Takes the media out, from the next start on.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
. "$here/lib.sh"
