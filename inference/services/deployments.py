"""Say which upstream serves what."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from http import HTTPStatus

import aiohttp
from django.db import transaction

from catalog.models import Region, ServedModel
from inference.models import Deployment
from portal.lib.errors import DomainError


class UnableToDeploy(DomainError):
    code = "unable_to_deploy"


@transaction.atomic
def point_models_at(*, base_url: str, now: datetime) -> int:
    """Let the server at `base_url` serve every listed model, and no other server; return how many models.

    For one server that stands for all, as the demonstration server does. Safe to repeat; deployments at other
    addresses are disabled, not deleted, because receipts name them.
    Raises UnableToDeploy while the catalog has no region or no model.
    """
    base_url = base_url.rstrip("/").removesuffix("/v1")
    region = Region.objects.order_by("pk").first()
    listed = list(ServedModel.objects.filter(is_listed=True).order_by("pk"))
    if region is None or not listed:
        raise UnableToDeploy("The catalog is empty: run load_catalog first.")
    Deployment.objects.exclude(base_url=base_url).filter(is_enabled=True).update(is_enabled=False)
    for served_model in listed:
        Deployment.objects.update_or_create(
            served_model=served_model,
            base_url=base_url,
            upstream_model="",
            defaults={"is_enabled": True},
            create_defaults={"is_enabled": True, "region": region, "created_at": now},
        )
    return len(listed)


PROBE_SECONDS = 5.0


def probe_deployments(*, upstream_key: str, now: datetime) -> int:
    """Ask every address in use for its models, note who answered, and return how many did.

    Outside any transaction: servers may take seconds. For the platform role.
    """
    addresses = list(Deployment.objects.enabled().order_by("base_url").values_list("base_url", flat=True).distinct())
    healthy = asyncio.run(_answering(addresses, upstream_key))
    for address in addresses:
        Deployment.objects.filter(base_url=address).update(is_healthy=address in healthy, probed_at=now)
    return len(healthy)


async def _answering(addresses: Sequence[str], upstream_key: str) -> set[str]:
    """Return the addresses that list their models."""
    headers = {"authorization": f"Bearer {upstream_key}"} if upstream_key else {}
    timeout = aiohttp.ClientTimeout(total=PROBE_SECONDS)
    async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:

        async def answers(address: str) -> bool:
            try:
                async with session.get(f"{address.rstrip('/')}/v1/models") as answer:
                    return answer.status == HTTPStatus.OK
            except (aiohttp.ClientError, TimeoutError):
                return False

        found = await asyncio.gather(*map(answers, addresses))
    return {address for address, is_there in zip(addresses, found, strict=True) if is_there}
