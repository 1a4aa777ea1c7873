"""Which stage a call is, and the candidate put into its bytes. Pure."""
