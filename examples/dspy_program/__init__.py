"""A DSPy program whose prompt gets better without a change to the program."""
