"""Where answers about a target come from: one module for each place that can be asked.

Belongs here: adapters that turn a question into a service's words and its answer into ``Rows`` or ``NoAnswer``, each
failure with its reason. Does not belong here: what an answer means for a rule, or how a connection is authenticated.
"""
