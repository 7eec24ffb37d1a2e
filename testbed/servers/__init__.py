"""Real servers with addresses of their own, each an async context manager."""

from testbed.servers.bind import Bind
from testbed.servers.consul import Consul
from testbed.servers.coredns import CoreDns
from testbed.servers.docker import Docker
from testbed.servers.etcd import ROOT_PASSWORD, Etcd, EtcdCluster
from testbed.servers.framework import Framework, Task
from testbed.servers.kind import KindCluster
from testbed.servers.knot import Knot
from testbed.servers.kubernetes import KubeApiServer, KubeControllers, Kubernetes
from testbed.servers.mesos import MesosAgent, MesosCluster, MesosMaster
from testbed.servers.names import NameServer, dig
from testbed.servers.swarm import SwarmCluster, SwarmNode
from testbed.servers.zookeeper import ZooKeeper

__all__ = [
    "ROOT_PASSWORD",
    "Bind",
    "Consul",
    "CoreDns",
    "Docker",
    "Etcd",
    "EtcdCluster",
    "Framework",
    "KindCluster",
    "Knot",
    "KubeApiServer",
    "KubeControllers",
    "Kubernetes",
    "MesosAgent",
    "MesosCluster",
    "MesosMaster",
    "NameServer",
    "SwarmCluster",
    "SwarmNode",
    "Task",
    "ZooKeeper",
    "dig",
]
