"""The process that does the network for others: it fills the cache, and hands over ranges.

`client.py` is the side of those who read. Behind it, in a process of its own, `service.py` hears
them, `downloads.py` fetches, as many requests at once as `gate.py` finds to be best, and
`prefetch.py` goes ahead of a stream.
"""
