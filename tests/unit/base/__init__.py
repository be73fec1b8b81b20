"""Tests of what everyone may use: errors, events, running programs, paths, secrets."""
