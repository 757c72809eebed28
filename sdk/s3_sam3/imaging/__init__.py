"""Masks as data: run lengths, choosing, overlap, label map, overlay; no model, no network."""
