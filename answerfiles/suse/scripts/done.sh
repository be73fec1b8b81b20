#!/bin/sh
echo 'nestlab: the host is set up' > /dev/console
