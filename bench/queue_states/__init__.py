"""The queue against its model, on random ways, and against mutants of itself."""
