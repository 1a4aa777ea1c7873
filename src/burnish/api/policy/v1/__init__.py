"""Generated from `protos/` by scripts/gen_protos.py; do not edit."""

from burnish.api.policy.v1.policy_service_pb2 import *
from burnish.api.policy.v1.policy_service_pb2_grpc import *
