"""What to substitute: policies and prompts as the controller tells them, cached."""
