"""A program with two model calls: route a message to a group, then name the intent within it."""
