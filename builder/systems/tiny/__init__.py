"""A kernel and a memory root with an ssh server: boots in seconds, for testing labs and networks themselves."""
