"""Search algorithms: pure engines that know no gRPC, no protobuf and no clock."""
