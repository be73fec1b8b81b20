#!/bin/sh
sh /tmp/nestlab-tell end settings 'the host is set up' || echo 'nestlab: the host is set up' > /dev/console
rm -f /tmp/nestlab-tell
