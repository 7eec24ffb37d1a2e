"""The source `mesos`: tasks of an Apache Mesos cluster as services; see README.md."""

from waypost.adapter import AdapterType
from waypost_adapters.mesos.config import CREDENTIALS, Config
from waypost_adapters.mesos.source import MesosSource, open_source

__all__ = ["SOURCE"]

SOURCE: AdapterType[MesosSource] = AdapterType(name="mesos", config=Config, open=open_source, credentials=CREDENTIALS)
