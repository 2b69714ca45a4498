"""Machines customers run, what reaches them, and the capacity they come from."""

from compute.models.instance import HealthInterval, Instance, InstanceEvent
from compute.models.pool import Pool
from compute.models.ssh_key import SshKey

__all__ = ["HealthInterval", "Instance", "InstanceEvent", "Pool", "SshKey"]
