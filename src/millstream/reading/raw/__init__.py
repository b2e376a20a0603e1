"""Files as they are, without a format of ours: listed, grouped into samples, and streamed.

`listing.py` lists a place into the compact arrays of `files.py`, in the fetcher's process where
that is far away. `items.py` says which files are a sample. `source.py` has these read: in place, or
by `fetched.py` through the cache or the fetcher's memory, which `ahead.py` has filled in the order
of the plan.
"""
