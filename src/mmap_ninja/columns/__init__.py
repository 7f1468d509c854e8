"""What a column holds: types, how values become bytes of them, what users declare, names and batches."""
