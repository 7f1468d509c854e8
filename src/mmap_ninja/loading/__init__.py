"""Training: orders of samples, plans of batches, and loading them."""
