"""The head model rendered in NumPy, for documentation and tests."""
