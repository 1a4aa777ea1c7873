"""Generated from `protos/` by scripts/gen_protos.py; do not edit."""

from burnish.api.interceptor.v1.interceptor_service_pb2 import *
from burnish.api.interceptor.v1.interceptor_service_pb2_grpc import *
