"""What every test run shares: how much of the machine a test takes, and the order of the files.

The order counts when several files run at once.
"""

import os
from collections import Counter

import hypothesis
import pytest

# As the suite has it: threads of linear algebra wait for each other by spinning, so that what takes
# milliseconds takes seconds where other tests keep the machine busy.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"):
    os.environ.setdefault(name, "1")

# How long an example takes says more of what else the machine does than of the code.
hypothesis.settings.register_profile("burnish", deadline=None)
hypothesis.settings.load_profile("burnish")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Puts the files with the most slow tests first, so that none of them is begun last."""
    if not hasattr(config, "workerinput"):
        return
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])
