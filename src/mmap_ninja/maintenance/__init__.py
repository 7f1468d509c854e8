"""Maintenance of datasets: survey of a damaged one, verify, recover, merge."""
