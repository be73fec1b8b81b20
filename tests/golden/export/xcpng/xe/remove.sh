#!/bin/sh
# Removes machines, disks and networks of this lab, by their mark. Media are kept.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
. "$here/lib.sh"
LAB=xcpng
remove xcpng-host
discard xcpng-host-system
discard xcpng-host-guests
unnetwork nestlab-xcpng-storage
