#!/bin/sh
# Makes the L0's disks and media of what SOURCES holds. Usage: prepare.sh SOURCES OUT
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
. "$here/prepare-lib.sh"
medium xcpng-host.iso
