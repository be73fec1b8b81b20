#!/bin/sh
# Removes nodes, disks and networks. Media are kept.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
. "$here/lib.sh"
stop xcpng-host
rm -f -- /var/lib/nestlab/xcpng/xcpng-host-system.img
rm -f -- /var/lib/nestlab/xcpng/xcpng-host-guests.img
rm -f -- /var/lib/nestlab/xcpng/xcpng-host.installed
unbridge nlb55104
