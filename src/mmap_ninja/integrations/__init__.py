"""Datasets in frameworks for training: a module for each, which imports its framework."""
