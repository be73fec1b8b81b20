"""Benchmarks: each prints its figures, and ends with status 1 when one is beyond its limit."""
