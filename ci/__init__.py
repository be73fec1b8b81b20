"""What CI runs: generated files, proofs, nightly parts, benchmarks. No part of the product, and not in the wheel."""
