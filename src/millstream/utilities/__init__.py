"""Import paths that LitData documents; the code lies elsewhere."""
