"""What a job will use before it runs: rollouts, calls, tokens and money by role, low and high."""

from burnish.estimates.estimate import estimate_config, estimate_job
from burnish.estimates.figures import Estimate, Range, RoleEstimate
from burnish.estimates.rollouts import pool_size

__all__ = [
    "Estimate",
    "Range",
    "RoleEstimate",
    "estimate_config",
    "estimate_job",
    "pool_size",
]
