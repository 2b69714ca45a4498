"""Valid deployments and receipts with the fewest fields."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from accounts.models import Organization
from catalog.models import ServedModel
from inference.models import Deployment, Receipt
from tests.factories.catalog import make_region, make_served_model

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)


def _model() -> ServedModel:
    name = "llama-3.1-8b-instruct"
    return ServedModel.objects.filter(name=name).first() or make_served_model(name)


def make_deployment(served_model: ServedModel | None = None) -> Deployment:
    return Deployment.objects.get_or_create(
        served_model=served_model or _model(),
        base_url="http://upstream.example",
        defaults={"region": make_region(), "created_at": NOON},
    )[0]


def make_receipt(organization: Organization, *, requested_at: datetime = NOON, **fields: Any) -> Receipt:
    """A completed request of 1,000 tokens in and 100 out, at a dollar per million, in the first project."""
    deployment = make_deployment(fields.pop("served_model", None))
    values = {
        "project": organization.projects.in_order()[0],
        "endpoint": Receipt.Endpoint.CHAT_COMPLETIONS,
        "served_model": deployment.served_model,
        "deployment": deployment,
        "region_name": deployment.region.name,
        "status": Receipt.Status.COMPLETED,
        "finish_reason": "stop",
        "is_stream": False,
        "finished_at": requested_at + timedelta(milliseconds=1_234),
        "input_tokens": 1_000,
        "cached_input_tokens": 0,
        "output_tokens": 100,
        "input_price_id": "price_in",
        "output_price_id": "price_out",
        "cost_usd": Decimal("0.0011"),
    }
    return Receipt.objects.create(organization=organization, requested_at=requested_at, **(values | fields))
