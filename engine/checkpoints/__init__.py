"""Reads the tensors of a model folder, one module for each format. Knows no device and no shape."""
