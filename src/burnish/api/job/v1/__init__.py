"""Generated from `protos/` by scripts/gen_protos.py; do not edit."""

from burnish.api.job.v1.job_event_pb2 import *
from burnish.api.job.v1.job_event_pb2_grpc import *
from burnish.api.job.v1.job_result_pb2 import *
from burnish.api.job.v1.job_result_pb2_grpc import *
from burnish.api.job.v1.job_service_pb2 import *
from burnish.api.job.v1.job_service_pb2_grpc import *
from burnish.api.job.v1.job_spec_pb2 import *
from burnish.api.job.v1.job_spec_pb2_grpc import *
from burnish.api.job.v1.rollout_record_pb2 import *
from burnish.api.job.v1.rollout_record_pb2_grpc import *
