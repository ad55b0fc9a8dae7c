"""Synthetic people: skin, hair, eyes and clothes on random identities."""
