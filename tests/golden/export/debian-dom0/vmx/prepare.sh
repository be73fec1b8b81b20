#!/bin/sh
# Makes the L0's disks and media of what SOURCES holds. Usage: prepare.sh SOURCES OUT
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
. "$here/prepare-lib.sh"
convert debian-dom0-dom0-disk0 53687091200 vmdk subformat=streamOptimized,adapter_type=lsilogic import.vmdk
