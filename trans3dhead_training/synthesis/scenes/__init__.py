"""Rendered people with exact labels: poses, cameras, lights, backgrounds, image effects."""
