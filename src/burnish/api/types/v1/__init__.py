"""Generated from `protos/` by scripts/gen_protos.py; do not edit."""

from burnish.api.types.v1.candidate_pb2 import *
from burnish.api.types.v1.candidate_pb2_grpc import *
from burnish.api.types.v1.model_pb2 import *
from burnish.api.types.v1.model_pb2_grpc import *
from burnish.api.types.v1.rollout_pb2 import *
from burnish.api.types.v1.rollout_pb2_grpc import *
