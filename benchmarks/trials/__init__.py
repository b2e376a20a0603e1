"""What runs in a fresh process: one workload with one library, measured and checked there."""
