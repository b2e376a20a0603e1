"""Manifest + plan + chunks -> samples and batches."""
