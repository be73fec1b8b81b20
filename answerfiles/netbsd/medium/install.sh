#!/bin/sh
exec /bin/sh /nestlab/install.sh
