"""A batched renderer of textured meshes in torch, the same code on CPU and CUDA."""
