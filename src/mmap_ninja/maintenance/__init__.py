"""Looking after datasets: what is left of a damaged one, verify, recover, merge."""
