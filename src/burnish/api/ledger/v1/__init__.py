"""Generated from `protos/` by scripts/gen_protos.py; do not edit."""

from burnish.api.ledger.v1.call_ledger_service_pb2 import *
from burnish.api.ledger.v1.call_ledger_service_pb2_grpc import *
