"""What apps and providers say: requests as they come, and replies rebuilt from an allow-list."""
