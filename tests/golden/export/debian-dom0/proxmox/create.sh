#!/bin/sh
# Makes bridges and machines of the lab debian-dom0.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
. "$here/lib.sh"

begin debian-dom0-dom0 --ostype l26 --machine pc --bios seabios --cpu host --sockets 1 --cores 2 --memory 4096 --balloon 0 --scsihw lsi --serial0 socket
give --scsi0 local-lvm:0,import-from=/var/lib/vz/nestlab/debian-dom0/debian-dom0-dom0-disk0.qcow2
give --net0 e1000=52:54:00:C7:14:F4,bridge=vmbr0
give --boot order=scsi0
ready
