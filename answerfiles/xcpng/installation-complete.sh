#!/bin/bash
# Run by the installer when it is done: $1 is 0, or 1 when the installation failed. The host is unmounted.
if [ "$1" = 0 ]; then
    echo 'nestlab: the host is installed' > /dev/console
else
    echo 'nestlab: the installation failed' > /dev/console
fi
