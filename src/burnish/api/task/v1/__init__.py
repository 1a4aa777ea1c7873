"""Generated from `protos/` by scripts/gen_protos.py; do not edit."""

from burnish.api.task.v1.task_app_service_pb2 import *
from burnish.api.task.v1.task_app_service_pb2_grpc import *
