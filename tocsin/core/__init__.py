"""Values, and decisions that are functions of values and ``now``.

Belongs here: what a rule, an alert, a message, a plan *is*, and every decision about one.
Does not belong here: files, clocks, the environment, the network, logging, randomness, Azure.
"""
