"""Generated from `protos/` by scripts/gen_protos.py; do not edit."""

from burnish.api.search.v1.search_service_pb2 import *
from burnish.api.search.v1.search_service_pb2_grpc import *
