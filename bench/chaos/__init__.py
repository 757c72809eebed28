"""The queue under every fault we can make, and an audit of what is left."""
