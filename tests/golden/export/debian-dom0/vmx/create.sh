#!/bin/sh
# Makes networks, disks and machines of the lab debian-dom0.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
. "$here/lib.sh"
portgroup nestlab-debian-dom0 vSwitch0 0
mkdir -p -- /vmfs/volumes/datastore1/debian-dom0/debian-dom0-dom0
import /vmfs/volumes/datastore1/debian-dom0/debian-dom0-dom0-disk0.import.vmdk /vmfs/volumes/datastore1/debian-dom0/debian-dom0-dom0/debian-dom0-dom0-disk0.vmdk
place "$here/dom0/debian-dom0-dom0.vmx" /vmfs/volumes/datastore1/debian-dom0/debian-dom0-dom0/debian-dom0-dom0.vmx
register debian-dom0-dom0 /vmfs/volumes/datastore1/debian-dom0/debian-dom0-dom0/debian-dom0-dom0.vmx
