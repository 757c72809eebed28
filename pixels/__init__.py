"""A picture's file as people see it: upright, in sRGB, on white; no model, no network."""
