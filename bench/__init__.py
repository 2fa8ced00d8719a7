"""Benchmarks: each compares against a named peer or baseline in the same run, and ends with one line of JSON."""
