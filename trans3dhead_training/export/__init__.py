"""Export of checkpoints to ONNX; every exported file is compared with torch before it is kept."""
