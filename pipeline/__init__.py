"""SAM3: pixels and prompts in, masks out; knows no database, no storage, no secrets."""
