"""A batched renderer of textured meshes in plain torch: the same code on CPU and CUDA."""
