"""Real servers on loopback with free ports, each an async context manager: Etcd, EtcdCluster, Consul, MesosCluster."""

from testbed.servers.consul import Consul
from testbed.servers.etcd import ROOT_PASSWORD, Etcd, EtcdCluster
from testbed.servers.framework import Framework, Task
from testbed.servers.mesos import MesosAgent, MesosCluster, MesosMaster

__all__ = [
    "ROOT_PASSWORD",
    "Consul",
    "Etcd",
    "EtcdCluster",
    "Framework",
    "MesosAgent",
    "MesosCluster",
    "MesosMaster",
    "Task",
]
