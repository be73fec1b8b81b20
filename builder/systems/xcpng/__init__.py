"""XCP-ng 8.2 and 8.3 and XenServer 8: hosts that install themselves from an answer file."""
