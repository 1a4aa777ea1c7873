"""Generated from `protos/` by scripts/gen_protos.py; do not edit."""

from burnish.api.proposer.v1.proposer_service_pb2 import *
from burnish.api.proposer.v1.proposer_service_pb2_grpc import *
