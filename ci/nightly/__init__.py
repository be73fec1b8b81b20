"""The long proofs: `bash ci/nightly.sh --list` names them. Each is a list of units that is gone through once,
with what is finished kept in `ci/out/nightly/PART/`."""
