#!/bin/sh
# Removes machines with their disks, and bridges. Media are kept.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
. "$here/lib.sh"
remove xcpng-host
unnetwork vmbr1596
