#!/bin/sh
# Starts the nodes. One with a medium installs itself: its disk, still empty, is tried first.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
. "$here/lib.sh"
start debian-dom0-dom0 /vmfs/volumes/datastore1/debian-dom0/debian-dom0-dom0/debian-dom0-dom0.vmx
