"""Generated from `protos/` by scripts/gen_protos.py; do not edit."""

from burnish.api.trace.v1.trace_service_pb2 import *
from burnish.api.trace.v1.trace_service_pb2_grpc import *
