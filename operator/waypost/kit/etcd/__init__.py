"""A client for etcd (API v3) on grpc.aio: fail-over, TLS, users, paged reads at one revision, watches without gaps.

`endpoint` and `wire` are pure and need nothing; the other modules need the extra `waypost[etcd]` (grpcio, protobuf).
Importing this package imports none of them, so that an adapter can be listed and its manifest checked where the extra
is not installed.
"""

import os

# gRPC's C core writes lines of its own to standard error, among ours, and its fork handlers complain each time that a
# process is started; what it has to tell comes with the errors too. Read when grpc is first imported.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")
