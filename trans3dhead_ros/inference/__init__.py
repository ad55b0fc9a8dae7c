"""One graph, several engines: the only place that names a runtime of neural networks."""
