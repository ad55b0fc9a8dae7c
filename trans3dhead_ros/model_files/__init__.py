"""The files of a model, a checkpoint and its graph, read without torch and without trust."""
