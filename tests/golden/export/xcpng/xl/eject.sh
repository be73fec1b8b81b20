#!/bin/sh
# Takes the media out.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
. "$here/lib.sh"
eject xcpng-host hdb /var/lib/nestlab/xcpng/xcpng-host.installed
