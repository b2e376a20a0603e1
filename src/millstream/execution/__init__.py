"""Run a function over tasks: in this process, or in worker processes. Knows nothing of data.

Nothing is imported here: a worker process starts the sooner the less it loads.
"""
