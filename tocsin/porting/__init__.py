"""Rules from elsewhere and to elsewhere, and what is no longer the same on the other side.

Belongs here: pure translation of documents that somebody else has read (Azure's scheduled query rules, Prometheus rule
files, Sloth's objectives) into rules of Tocsin, and of rules into Azure's alerts and promtool's tests. Does not belong
here: reading and writing files, and anything that the deployed function needs.

No field of a source is dropped in silence: it is carried, told as a difference in meaning, or the reason of a refusal.
"""
