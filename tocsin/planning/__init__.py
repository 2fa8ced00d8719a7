"""What a change of the operator's files means: in words, in queries, and in who is told."""
