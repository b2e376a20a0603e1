"""Import paths that LitData has; the code lies elsewhere."""
