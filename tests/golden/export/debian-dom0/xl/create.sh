#!/bin/sh
# Makes disks and networks of the lab debian-dom0 in dom0.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
. "$here/lib.sh"
mkdir -p -- /var/lib/nestlab/debian-dom0
present /var/lib/nestlab/debian-dom0/debian-dom0-dom0-disk0.img
