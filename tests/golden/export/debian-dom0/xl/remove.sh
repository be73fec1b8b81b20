#!/bin/sh
# Removes nodes, disks and networks. Media are kept.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
. "$here/lib.sh"
stop debian-dom0-dom0
rm -f -- /var/lib/nestlab/debian-dom0/debian-dom0-dom0-disk0.img
