"""Microsoft's own KQL parser, kept alive in a Node process for the tests that bind queries with it."""
