"""Models of other people: one adapter per provider, prices, and calls that are paid for once."""
