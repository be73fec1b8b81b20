"""Enterprise Linux 6 to 10 and Fedora: hosts that anaconda installs from a kickstart."""
