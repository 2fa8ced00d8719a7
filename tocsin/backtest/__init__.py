"""Rules over recorded history: what would have fired, who would have been told, and what policies would have done.

History is read in bins, one pass a measure, and each window is made of its bins; verdicts, states, messages and
rulings are the live engine's own code. Nothing here is loaded where Tocsin is deployed.
"""
