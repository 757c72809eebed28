"""Weights: fetch, convert, verify, and train the tiny demo model."""
