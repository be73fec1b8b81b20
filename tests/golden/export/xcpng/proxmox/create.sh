#!/bin/sh
# Makes bridges and machines of the lab xcpng.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
. "$here/lib.sh"
network vmbr1596 9000

begin xcpng-host --ostype l26 --machine pc --bios seabios --cpu host --sockets 1 --cores 2 --memory 8192 --balloon 0 --scsihw lsi --serial0 socket
give --scsi0 local-lvm:100
give --scsi1 local-lvm:50
give --ide2 /var/lib/vz/nestlab/xcpng/xcpng-host.iso,media=cdrom
give --net0 e1000=52:54:00:A1:04:D8,bridge=vmbr0
give --net1 e1000=52:54:00:4F:FD:56,bridge=vmbr1596
give --boot 'order=scsi0;ide2'
ready
