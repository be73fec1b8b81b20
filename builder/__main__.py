"""`python -m builder`: the `nestlab` program where its script is not on PATH."""

from builder.cli import main

main()
