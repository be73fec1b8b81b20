#!/bin/sh
# For installers that switch the machine off at their end: waits for that, takes the medium out,
# and starts the node again. After a reboot nothing has to be done.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
. "$here/lib.sh"
