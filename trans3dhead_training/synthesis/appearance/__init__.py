"""Textures and meshes of skin, eyes, eyebrows, lashes and hair."""
