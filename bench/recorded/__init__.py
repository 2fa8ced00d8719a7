"""Real recordings as exported telemetry, for backtests: what each is made into, and what was known to be wrong in it."""
