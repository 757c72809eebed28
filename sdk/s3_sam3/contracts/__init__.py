"""What crosses a border: frozen data, enums, error codes, limits; no I/O."""
