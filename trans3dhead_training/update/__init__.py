"""A model made better by a robot's own recordings, without a label written by hand."""
