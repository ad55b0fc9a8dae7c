"""Faults and endurance: the node in a process of its own, under what goes wrong in the field."""
