"""What stands in for pg_net: the schema `net`, and the worker that sends its requests."""
