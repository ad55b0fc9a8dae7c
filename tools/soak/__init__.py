"""Endurance tests: the node in its own process, exposed to faults that occur in the field."""
