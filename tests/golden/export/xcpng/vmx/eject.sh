#!/bin/sh
# Takes the media out, from the next start on.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
. "$here/lib.sh"
eject xcpng-host /vmfs/volumes/datastore1/xcpng/xcpng-host/xcpng-host.vmx
