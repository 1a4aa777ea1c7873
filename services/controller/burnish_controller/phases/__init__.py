"""The phases of an offline job; every function in them may run again after a crash."""
