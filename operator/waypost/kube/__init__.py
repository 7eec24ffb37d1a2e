"""The operator on Kubernetes: manifests as custom resources, their status, a leader by a Lease, holds for kubectl.

The engine is the same as in file mode; nothing here reads a source or writes to a sink.
"""
