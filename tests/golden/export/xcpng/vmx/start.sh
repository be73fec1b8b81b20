#!/bin/sh
# Starts the nodes. One with a medium installs itself: its disk, still empty, is tried first.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
. "$here/lib.sh"
start xcpng-host /vmfs/volumes/datastore1/xcpng/xcpng-host/xcpng-host.vmx
