"""The process that does the network for others: it fills the cache, and hands over ranges.

`client.py` is the side of those who read. Behind it, in a process of its own, `service.py` hears
them, `downloads.py` has objects fetched, by the threads of `turns.py`, as many requests at once as
`gate.py` finds to be best, and `prefetch.py` goes ahead of a stream. An object on its way
(`arriving.py`) can be read as far as it has come; `memory.py` has some fetched past the cache.
`asks.py` has what the two sides say.
"""
