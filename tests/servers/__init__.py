"""Real servers for tests, the demo and benchmarks: object stores, plain HTTP, faults, a slow link.

Each runs in a process of its own on 127.0.0.1, keeps its data in a folder that it is given, and
ends with whoever started it, however that ends (process.py). Only fixtures.py needs pytest.

    seaweedfs.py   S3 with authentication          gcs.py    Google Cloud Storage
    azure.py       Azure blobs                     http.py   plain files, with ranges
    hub.py         a hub of datasets               link.py   a network with delay and a rate
    faultproxy.py  in front of any of them: faults by rule (faults.py), and counts
"""
