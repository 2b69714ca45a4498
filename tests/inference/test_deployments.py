"""Which deployments answer."""

from datetime import UTC, datetime, timedelta

import pytest
from django.conf import settings

from dev.services import free_port
from inference.models import Deployment
from inference.services.deployments import probe_deployments
from tests.factories.catalog import make_region, make_served_model
from tests.inference.conftest import DemoUpstreamProcess

NOW = datetime(2026, 11, 2, 12, tzinfo=UTC)


@pytest.mark.django_db
def test_probes_every_enabled_deployment(shared_upstream: DemoUpstreamProcess):
    region, models = make_region(), [make_served_model("one"), make_served_model("two")]
    nobody = f"http://127.0.0.1:{free_port()}"
    for model in models:
        for url in (shared_upstream.url, nobody):
            Deployment.objects.create(served_model=model, region=region, base_url=url, created_at=NOW)
    disabled = Deployment.objects.create(
        served_model=models[0], region=region, base_url="http://127.0.0.1:9", is_enabled=False, created_at=NOW
    )

    assert probe_deployments(upstream_key=settings.MODEL_UPSTREAM_KEY, now=NOW) == 1

    assert set(Deployment.objects.enabled().values_list("base_url", "is_healthy", "probed_at")) == {
        (shared_upstream.url, True, NOW),
        (nobody, False, NOW),
    }
    disabled.refresh_from_db()
    assert (disabled.is_healthy, disabled.probed_at) == (True, None)


@pytest.mark.django_db
def test_finds_a_deployment_well_again(shared_upstream: DemoUpstreamProcess):
    deployment = Deployment.objects.create(
        served_model=make_served_model(),
        region=make_region(),
        base_url=shared_upstream.url,
        is_healthy=False,
        created_at=NOW,
    )

    probe_deployments(upstream_key=settings.MODEL_UPSTREAM_KEY, now=NOW + timedelta(seconds=30))

    deployment.refresh_from_db()
    assert deployment.is_healthy


@pytest.mark.django_db
@pytest.mark.parametrize("key", ["", "wrong"])
def test_a_deployment_that_refuses_our_key_is_not_well(shared_upstream: DemoUpstreamProcess, key: str):
    deployment = Deployment.objects.create(
        served_model=make_served_model(), region=make_region(), base_url=shared_upstream.url, created_at=NOW
    )

    assert probe_deployments(upstream_key=key, now=NOW) == 0

    deployment.refresh_from_db()
    assert not deployment.is_healthy
