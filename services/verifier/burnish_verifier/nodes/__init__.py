"""What the nodes of a verifier graph do, a module per kind."""
