"""Building a dataset from many samples: sources, worker processes, and resuming."""
