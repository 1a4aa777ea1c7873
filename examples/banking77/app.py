"""The intents app on Banking77: another data set, not one other line of program.

python -m examples.banking77.app --preset confusable7 --data DIR --port 8002
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from burnish.datasets import BANKING77_PRESETS
from burnish.errors import BurnishError
from burnish.task_app import serve
from examples.banking77.data import find_data
from examples.intents.app import LABEL_PLACES, make_app


def main() -> None:
    """Serves the app."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--preset", choices=tuple(BANKING77_PRESETS), default="confusable7")
    parser.add_argument("--data", type=Path, help="folder with train.csv and test.csv")
    parser.add_argument("--offline", action="store_true", help="never download")
    parser.add_argument("--labels-in", choices=LABEL_PLACES, default=LABEL_PLACES[0])
    parser.add_argument("--port", type=int, default=8002)
    parser.add_argument("--ready-file", type=Path)
    options = parser.parse_args()
    try:
        found = find_data(options.preset, directory=options.data, online=not options.offline)
    except BurnishError as error:
        parser.exit(1, f"error: {error.message}\n")
    print("\n".join(found.notes), file=sys.stderr)
    app = make_app(found.data, task=found.task, labels_in=options.labels_in)
    serve(app, port=options.port, ready_file=options.ready_file)


if __name__ == "__main__":
    main()
