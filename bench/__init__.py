"""Benchmarks: every speed as a ratio to a yardstick measured in the same interleaved run. See README.md."""
