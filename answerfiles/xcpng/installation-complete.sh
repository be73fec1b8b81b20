#!/bin/bash
# Run by the installer when it is done: $1 is 0, or 1 when the installation failed. The host is unmounted.
cat > /tmp/nestlab-tell <<'NESTLAB'
{% include "tell.sh" %}
NESTLAB
if [ "$1" = 0 ]; then
    sh /tmp/nestlab-tell end install 'the host is installed' || :
else
    sh /tmp/nestlab-tell fail install 'the installation failed' /tmp/install-log || :
fi
