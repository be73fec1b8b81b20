"""A stand-in for XCP-ng's host installer, for tests alone: the vendor's cannot be shipped or downloaded by a test.

It is our own code, and says so on the console. It does what the facts about the real one say: reads the same answer
file by the same rules of each release, refuses what that refuses, logs the same markers, runs the stage scripts, lays
out the disk by the same sizes and labels, and leaves a host with the same configuration files. What it installs is
Debian's Xen and kernel with a root of busybox: no XAPI, and no `xe`.

- `inside/` runs in the installer, from install.img; its rules are tested on this machine, without a VM.
- `packages` unpacks and picks what goes onto the medium, `medium` puts it together.
"""
