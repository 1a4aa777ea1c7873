"""What benchmarks/search.py is made of: recorded matrices, worlds, engines, peers and bounds."""
