"""Alerts of other systems, written for these tests from the formats' documentation, and what becomes of them."""
