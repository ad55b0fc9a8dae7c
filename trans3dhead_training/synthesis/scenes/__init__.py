"""Synthetic pictures with complete truth: poses, cameras, light, occluders, what cameras do."""
