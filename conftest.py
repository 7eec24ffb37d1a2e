"""Gives every test the servers of the testbed."""

from pathlib import Path

pytest_plugins = (
    ["testbed.pytest_plugin"] if Path(__file__).with_name("testbed").joinpath("pytest_plugin.py").exists() else []
)
