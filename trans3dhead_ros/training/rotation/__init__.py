"""Real photographs turned in depth."""
