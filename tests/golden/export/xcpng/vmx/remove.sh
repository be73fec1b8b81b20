#!/bin/sh
# Removes machines, disks and networks of this lab. Media are kept.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
. "$here/lib.sh"
remove xcpng-host /vmfs/volumes/datastore1/xcpng/xcpng-host/xcpng-host.vmx
discard /vmfs/volumes/datastore1/xcpng/xcpng-host/xcpng-host-system.vmdk
discard /vmfs/volumes/datastore1/xcpng/xcpng-host/xcpng-host-guests.vmdk
rm -rf -- /vmfs/volumes/datastore1/xcpng/xcpng-host
unportgroup nestlab-xcpng vSwitch0
unportgroup nestlab-xcpng-storage nestlab-xcpng-storage
unvswitch nestlab-xcpng-storage
