"""The model server's endpoints, a module a kind."""
