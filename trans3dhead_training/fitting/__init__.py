"""Fits of the head model to photographs, and the teachers that give a second opinion."""
