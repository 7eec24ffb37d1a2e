"""A client for etcd (API v3) on grpc.aio: fail-over, TLS, users, paged reads at one revision, watches without gaps.

`endpoint` and `wire` are pure and need nothing; the other modules need the extra `waypost[etcd]` (grpcio, protobuf).
Importing this package imports none of them, so that an adapter can be listed and its manifest checked where the extra
is not installed.
"""
