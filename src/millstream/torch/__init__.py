"""The only package that imports torch: ranks, collation, the loader."""
