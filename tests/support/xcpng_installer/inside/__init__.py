"""What runs in the installer: Python of Debian 13 with the few modules that are packed beside it."""
