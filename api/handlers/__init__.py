"""One file per operation of the route table; each is a composition root for its request."""
