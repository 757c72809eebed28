"""The public door: checks, uploads, inserts pending rows, reads; never runs a model."""
