#!/bin/sh
# Makes networks, disks and machines of the lab xcpng.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
. "$here/lib.sh"
portgroup nestlab-xcpng vSwitch0 0
vswitch nestlab-xcpng-storage 9000
portgroup nestlab-xcpng-storage nestlab-xcpng-storage 4095
mkdir -p -- /vmfs/volumes/datastore1/xcpng/xcpng-host
blank /vmfs/volumes/datastore1/xcpng/xcpng-host/xcpng-host-system.vmdk 107374182400
blank /vmfs/volumes/datastore1/xcpng/xcpng-host/xcpng-host-guests.vmdk 53687091200
present /vmfs/volumes/datastore1/xcpng/xcpng-host.iso
place "$here/host/xcpng-host.vmx" /vmfs/volumes/datastore1/xcpng/xcpng-host/xcpng-host.vmx
register xcpng-host /vmfs/volumes/datastore1/xcpng/xcpng-host/xcpng-host.vmx
