"""Generated from `protos/` by scripts/gen_protos.py; do not edit."""

from burnish.api.verifier.v1.node_result_pb2 import *
from burnish.api.verifier.v1.node_result_pb2_grpc import *
from burnish.api.verifier.v1.rubric_pb2 import *
from burnish.api.verifier.v1.rubric_pb2_grpc import *
from burnish.api.verifier.v1.verifier_node_service_pb2 import *
from burnish.api.verifier.v1.verifier_node_service_pb2_grpc import *
from burnish.api.verifier.v1.verifier_service_pb2 import *
from burnish.api.verifier.v1.verifier_service_pb2_grpc import *
from burnish.api.verifier.v1.verifier_step_pb2 import *
from burnish.api.verifier.v1.verifier_step_pb2_grpc import *
