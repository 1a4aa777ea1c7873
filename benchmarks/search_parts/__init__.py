"""What benchmarks/search.py is made of: recorded matrices, worlds, engines, peers and bounds."""

import os

# Matrices are small here: more threads of the linear algebra only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
