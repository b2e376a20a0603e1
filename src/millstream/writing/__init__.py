"""Inputs -> tasks -> segments -> chunks -> a version."""
