#!/bin/sh
# Starts the nodes. One with a medium installs itself: its disk, still empty, is tried first.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
. "$here/lib.sh"
LAB=debian-dom0
start debian-dom0-dom0
