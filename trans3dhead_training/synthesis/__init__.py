"""Synthetic training data: people, scenes, their rendering, and photographs turned in depth."""
