"""Azure Storage on one machine: Azurite, started for the tests that need it."""
