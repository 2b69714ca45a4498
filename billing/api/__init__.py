"""The REST API of money (contracts 1, 2 and 8)."""
