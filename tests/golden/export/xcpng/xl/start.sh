#!/bin/sh
# Starts the nodes. One that installs itself ends with a reboot, which ends its domain (on_reboot=destroy):
# it is started again from its disk.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
. "$here/lib.sh"
install xcpng-host "$here/host/install.cfg" /var/lib/nestlab/xcpng/xcpng-host.installed
start xcpng-host "$here/host/host.cfg"
