"""What is found when a watcher is looked over: findings out of what was read, and whether it can be handed over.

Belongs here: pure decisions over what was read, each with what to do about it. Does not belong here: reading anything,
and anything that the deployed function needs.
"""
