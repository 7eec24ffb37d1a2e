"""Gives every test the servers of the testbed."""

pytest_plugins = ["testbed.pytest_plugin"]
