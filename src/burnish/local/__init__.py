"""Models for everyone: a reader, a proposer and a judge behind one OpenAI-compatible server.

They need no API key, no download and no GPU, and are honest about what they are: the reader
classifies by the words of the prompt, the proposer mines labelled rows, the judge runs lexical
checks.
"""

from importlib.util import find_spec

from burnish.errors import MissingExtra

if find_spec("numpy") is None:
    raise MissingExtra(package="numpy", extra="local")

from burnish.local.models import JUDGE, MODEL_IDS, PROPOSER, READER
from burnish.local.server import LocalServer, LocalServerOptions, start_local_server

__all__ = [
    "JUDGE",
    "MODEL_IDS",
    "PROPOSER",
    "READER",
    "LocalServer",
    "LocalServerOptions",
    "start_local_server",
]
