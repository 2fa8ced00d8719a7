"""Tests that operators write for their rules: made-up telemetry, faults, and what had to come of both.

A case plays its rows through the rule's own KQL and the real engine, on one machine, in memory.
Belongs here: the format of ``tests/rules/*.yaml``, playing it, and judging what came of it. Does not belong here:
anything the deployed function imports, and how results are shown.
"""
