"""SAM3 and what runs it: weights, batches, features, masks."""
