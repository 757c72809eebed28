"""The internal HTTP server: routes, admission, one model, one picture's way."""
