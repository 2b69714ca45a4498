"""Valid pools, SSH keys and instances with the fewest fields."""

from datetime import datetime
from itertools import count
from typing import Any

import asyncssh

from accounts.models import Organization, Project
from catalog.models import Image, InstanceType, LeaseClass, Region
from compute.models import Instance, Pool, SshKey
from compute.services.launching import LaunchRequest, launch_instances
from tests.factories.accounts import THEN, make_project
from tests.factories.catalog import make_image, make_instance_type, make_region

_numbers = count(1)
HOURLY_NANO = 2_490_000_000  # $2.49 an hour: no finite number of dollars per second


def make_pool(
    *, total_units: int = 10, region: Region | None = None, instance_type: InstanceType | None = None, **fields: int
) -> Pool:
    return Pool.objects.create(
        region=region or make_region(),
        instance_type=instance_type or make_instance_type(f"gpu_1x_test{next(_numbers)}", price_nano=HOURLY_NANO),
        backend="local",
        total_units=total_units,
        **fields,
    )


def make_ssh_key(organization: Organization, name: str | None = None) -> SshKey:
    key = asyncssh.generate_private_key("ssh-ed25519")
    return SshKey.objects.create(
        organization=organization,
        name=name or f"laptop-{next(_numbers)}",
        public_key=" ".join(key.export_public_key().decode().split()[:2]),
        fingerprint=key.get_fingerprint(),
        created_at=THEN,
    )


def make_request(project: Project | None = None, *, pool: Pool | None = None, **changes: Any) -> LaunchRequest:
    """A request for one instance that is granted; `changes` are fields of LaunchRequest."""
    project = project or make_project()
    pool = pool or make_pool()
    values: dict[str, Any] = {
        "project": project,
        "instance_type": pool.instance_type,
        "region": pool.region,
        "image": Image.objects.first() or make_image(),
        "lease_class": LeaseClass.ON_DEMAND,
        "ssh_keys": [make_ssh_key(project.organization)],
        **changes,
    }
    return LaunchRequest(**values)


def make_instance(now: datetime, project: Project | None = None, **changes: Any) -> Instance:
    """A launched instance that no reconciler has looked at yet."""
    return launch_instances(request=make_request(project, **changes), now=now).instances[0]
