"""Examples: task apps that a user can start from."""
