#!/bin/sh
cat > /tmp/nestlab-tell <<'NESTLAB'
{% include "tell.sh" %}
NESTLAB
sh /tmp/nestlab-tell end answers 'the installer has read its answers' || :
