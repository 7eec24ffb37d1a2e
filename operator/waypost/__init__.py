"""Waypost keeps service registries equal to what manifests ask for, whatever runs the services."""

__version__ = "0.1.0.dev0"
