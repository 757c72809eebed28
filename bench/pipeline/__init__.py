"""The pipeline, measured side by side with the plain transformers example and with LitServe."""
