#!/bin/sh
# Makes disks and networks of the lab xcpng in dom0.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
. "$here/lib.sh"
mkdir -p -- /var/lib/nestlab/xcpng
bridge nlb55104 9000
blank /var/lib/nestlab/xcpng/xcpng-host-system.img 107374182400
blank /var/lib/nestlab/xcpng/xcpng-host-guests.img 53687091200
present /var/lib/nestlab/xcpng/xcpng-host.iso
