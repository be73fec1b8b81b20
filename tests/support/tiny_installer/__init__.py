"""The smallest installer that behaves like one: a kernel and busybox on a medium that BIOS starts, which reads its
answers from that medium, writes a disk that starts by itself, and ends as it was told. For tests of `lifecycle` only;
what it installs is the tiny system, from a disk."""
