"""Real recordings as exported telemetry, for backtests, with what was known to be wrong in them."""
