"""How a child process that reads unchecked bytes is confined."""
