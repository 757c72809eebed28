"""Pictures and masks as data, computed without a model, a network or a platform."""
