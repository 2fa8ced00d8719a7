"""Carries decisions out, in one fixed order: save state, tell, record the intent, act, verify, beat.

Belongs here: the order of effects, and isolating one rule's or receiver's failure from the others.
Does not belong here: any decision (``core``), any service (adapters).
"""
