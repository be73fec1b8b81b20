"""The lab file and the values made from it. Import from the modules: `lab`, `layers`, `plan`, `host`."""
