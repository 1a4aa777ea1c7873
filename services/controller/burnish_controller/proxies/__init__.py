"""A cheap model in the place of a dear one: when it may stand in, and what that is worth."""
