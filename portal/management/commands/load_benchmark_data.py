"""One very large organization, so that pages can be measured where they would be slow: make bench uses it.

10,000 instances, 1,000,000 usage events of 30 days with their roll-ups, 200,000 receipts, 1,000 projects with a
key each by default. The rows are what the services would have written (amounts included), made by the database
itself in a minute.
"""

from argparse import ArgumentParser
from datetime import datetime, timedelta
from typing import Any

from allauth.account.models import EmailAddress
from django.conf import settings
from django.core.management import BaseCommand, CommandError
from django.db import connection, transaction
from django.utils import timezone
from django.utils.text import slugify

from accounts.models import Organization, User
from accounts.services.organizations import create_organization
from billing.services.credits import lock_cap
from billing.services.partitions import make_partitions
from portal.lib.periods import hour_of
from portal.lib.tenancy import as_platform

NAME = "Benchmark"
DAYS = 30
# A fifth of the usage is requests to models, whose receipts are kept.
EVENTS_PER_REQUEST = 5
# One in so many instances runs at a time.
INSTANCES_PER_RUNNING = 50

PROJECTS = """
    INSERT INTO accounts_project (organization_id, public_id, name, slug, created_at)
    SELECT %(organization)s, 'proj_' || %(mark)s || lpad(n::text, 12, '0'), 'Project ' || n, 'project-' || n, %(start)s
    FROM generate_series(1, %(projects)s) AS n
"""

KEYS = """
    INSERT INTO accounts_apikey (organization_id, project_id, public_id, name, digest, hash_version, prefix, last_four,
        kind, scopes, allowed_models, created_at, changed_at)
    SELECT organization_id, id, 'key_' || %(mark)s || lpad(id::text, 12, '0'), 'Key of ' || name,
        sha256(public_id::bytea), 1, 'hr_live_bench', '0000', 'live', ARRAY['inference'], ARRAY[]::text[],
        %(start)s, %(start)s
    FROM accounts_project WHERE organization_id = %(organization)s
"""

INSTANCES = """
    INSERT INTO compute_instance (organization_id, project_id, public_id, name, pool_id, region_id, instance_type_id,
        image_id, lease_class, ssh_key_names, authorized_keys, user_data, launch_index, request_digest, want, state,
        state_since, generation, boot_generation, give_up_at, failure_reason, host, port, created_at, usable_at,
        ended_at, sku, price_id, price_nano, unit_size, notice_seconds, unspent_seconds, holds_unit)
    SELECT %(organization)s, project.id, 'inst_' || %(mark)s || lpad(n::text, 12, '0'), 'train-' || n, pool.id,
        pool.region_id, pool.instance_type_id, image.id, 'on_demand', ARRAY['laptop'], ARRAY[]::text[], '', 0, '',
        CASE WHEN is_running THEN 'running' ELSE 'terminated' END,
        CASE WHEN is_running THEN 'active' ELSE 'terminated' END,
        launched_at, 1, 1, %(end)s, '', '127.0.0.1', 10000 + n %% 50000, launched_at, launched_at,
        CASE WHEN NOT is_running THEN launched_at + %(running)s * %(launch_every)s::interval END,
        price.sku, price.price_id, price.price_nano, price.unit_size, 86400, 0, false
    FROM generate_series(0, %(instances)s - 1) AS n
    CROSS JOIN LATERAL (SELECT %(start)s + n * %(launch_every)s::interval AS launched_at,
                               n >= %(instances)s - %(running)s AS is_running) AS life
    JOIN (SELECT id, row_number() OVER (ORDER BY id) - 1 AS place FROM accounts_project
          WHERE organization_id = %(organization)s) AS project ON project.place = n %% %(project_count)s
    JOIN (SELECT id, region_id, instance_type_id, row_number() OVER (ORDER BY id) - 1 AS place,
                 count(*) OVER () AS total FROM compute_pool) AS pool ON pool.place = n %% pool.total
    JOIN LATERAL (SELECT sku.code AS sku, price.public_id AS price_id, price.price_nano, price.unit_size
                  FROM catalog_sku AS sku JOIN catalog_price AS price ON price.sku_id = sku.id
                  JOIN catalog_instancetype AS shape ON shape.id = pool.instance_type_id
                  WHERE sku.code = 'instance.' || shape.name || '.on_demand' AND price.active_to IS NULL
                 ) AS price ON true
    CROSS JOIN (SELECT id FROM catalog_image ORDER BY id LIMIT 1) AS image
"""

# Requests to models by every project in turn, and leases of the instances that run at that time.
EVENTS = """
    INSERT INTO billing_usageevent (event_id, occurred_at, organization_id, project_id, sku, quantity, resource_id,
        api_key_id, user_id, request_id, corrects, recorded_at)
    SELECT gen_random_uuid(), %(start)s + n * (%(end)s::timestamptz - %(start)s::timestamptz) / %(events)s,
        %(organization)s, coalesce(instance.project_id, project.id), coalesce(instance.sku, sku.code),
        CASE WHEN instance.id IS NULL THEN 1 + n %% 4000 ELSE 300 END,
        coalesce(instance.public_id, split_part(sku.code, '.', 2)),
        CASE WHEN instance.id IS NULL THEN project.key_id END, NULL,
        'req_' || %(mark)s || lpad(n::text, 12, '0'), NULL, %(end)s
    FROM generate_series(0, %(events)s - 1) AS n
    CROSS JOIN LATERAL (SELECT (n::bigint * %(instances)s / %(events)s)::int AS newest) AS age
    LEFT JOIN (SELECT id, public_id, project_id, sku, row_number() OVER (ORDER BY id) - 1 AS place
               FROM compute_instance WHERE organization_id = %(organization)s
              ) AS instance ON n %% %(events_per_request)s > 0
                           AND instance.place = newest - n %% least(%(running)s, newest + 1)
    JOIN (SELECT project.id, key.id AS key_id, row_number() OVER (ORDER BY project.id) - 1 AS place
          FROM accounts_project AS project JOIN accounts_apikey AS key ON key.project_id = project.id
          WHERE project.organization_id = %(organization)s
         ) AS project ON project.place = (n / %(events_per_request)s) %% %(project_count)s
    JOIN (SELECT sku.code, row_number() OVER (ORDER BY sku.code) - 1 AS place, count(*) OVER () AS total
          FROM catalog_sku AS sku WHERE code LIKE 'model.%%'
            AND EXISTS (SELECT FROM catalog_price WHERE sku_id = sku.id AND active_to IS NULL)
         ) AS sku ON sku.place = (n / 1000) %% sku.total
"""

BUCKETS = """
    INSERT INTO billing_usagebyhour (organization_id, hour, project_id, sku, quantity, event_count, amount_nano,
        price_id, price_nano, unit_size, updated_at)
    SELECT organization_id, hour, project_id, part.sku, quantity, event_count,
        billing_divide_half_even(quantity * price.price_nano, price.unit_size), price.public_id, price.price_nano,
        price.unit_size, %(end)s
    FROM (SELECT organization_id, date_trunc('hour', occurred_at, 'UTC') AS hour, project_id, sku,
                 sum(quantity) AS quantity, count(*) AS event_count
          FROM billing_usageevent WHERE organization_id = %(organization)s GROUP BY 1, 2, 3, 4) AS part
    JOIN catalog_sku AS sku ON sku.code = part.sku
    JOIN catalog_price AS price ON price.sku_id = sku.id AND price.active_to IS NULL
"""

DAYS_OF_BUCKETS = """
    INSERT INTO billing_spendbyday (organization_id, day, sku, price_id, price_nano, unit_size, quantity, event_count,
        amount_nano, updated_at)
    SELECT organization_id, date_trunc('day', hour, 'UTC'), sku, price_id, price_nano, unit_size, sum(quantity),
        sum(event_count), sum(amount_nano), %(end)s
    FROM billing_usagebyhour WHERE organization_id = %(organization)s GROUP BY 1, 2, 3, 4, 5, 6
"""

EXPLANATIONS = """
    INSERT INTO billing_usagebyresource (organization_id, day, project_id, sku, resource_id, api_key_id, user_id,
        quantity)
    SELECT organization_id, date_trunc('day', occurred_at, 'UTC'), project_id, sku, resource_id,
        coalesce(api_key_id, 0), 0, sum(quantity)
    FROM billing_usageevent WHERE organization_id = %(organization)s GROUP BY 1, 2, 3, 4, 5, 6
"""

# Event by event, as billing.services.usage spreads what each adds to its bucket.
CAUSES = """
    INSERT INTO billing_spendbycause (organization_id, cause, span_days, day, cause_id, amount_nano)
    SELECT organization_id, cause, span_days, date_trunc(unit, occurred_at, 'UTC'), cause_id, sum(amount_nano)
    FROM (
        SELECT event.*, billing_divide_half_even(until * price_nano, unit_size)
            - billing_divide_half_even((until - event.quantity) * price_nano, unit_size) AS amount_nano
        FROM (
            SELECT organization_id, occurred_at, project_id, sku, resource_id, api_key_id, quantity,
                sum(quantity) OVER (
                    PARTITION BY project_id, sku, date_trunc('hour', occurred_at, 'UTC') ORDER BY occurred_at, event_id
                ) AS until
            FROM billing_usageevent WHERE organization_id = %(organization)s
        ) AS event JOIN billing_usagebyhour AS bucket USING (organization_id, project_id, sku)
        WHERE bucket.hour = date_trunc('hour', occurred_at, 'UTC')
    ) AS priced, LATERAL (VALUES ('project', project_id::text), ('key', coalesce(api_key_id, 0)::text),
                                 ('resource', resource_id), ('member', '0')) AS of (cause, cause_id),
         (VALUES (1, 'day'), (7, 'week')) AS span (span_days, unit)
    GROUP BY 1, 2, 3, 4, 5
"""

RECEIPTS = """
    INSERT INTO inference_receipt (organization_id, project_id, api_key_id, request_id, endpoint, served_model_id,
        region_name, status, finish_reason, is_stream, requested_at, finished_at, first_token_ms, input_tokens,
        cached_input_tokens, output_tokens, input_price_id, cached_input_price_id, output_price_id, cost_usd)
    SELECT %(organization)s, key.project_id, key.id, 'req_' || %(mark)s || lpad(n::text, 12, '0'),
        'chat.completions', model.id, '', 'completed', 'stop', true,
        %(start)s + n * (%(end)s::timestamptz - %(start)s::timestamptz) / %(receipts)s,
        %(start)s + n * (%(end)s::timestamptz - %(start)s::timestamptz) / %(receipts)s + interval '2 seconds', 90,
        1 + n %% 4000, 0, 0, model.price_id, '', '', (1 + n %% 4000) * model.price_nano / model.unit_size / 1000000000
    FROM generate_series(0, %(receipts)s - 1) AS n
    JOIN (SELECT id, project_id, row_number() OVER (ORDER BY id) - 1 AS place FROM accounts_apikey
          WHERE organization_id = %(organization)s) AS key ON key.place = n %% %(project_count)s
    JOIN (SELECT served.id, price.public_id AS price_id, price.price_nano::numeric, price.unit_size,
                 row_number() OVER (ORDER BY served.id) - 1 AS place, count(*) OVER () AS total
          FROM catalog_servedmodel AS served JOIN catalog_sku AS sku ON sku.code = 'model.' || served.name || '.input'
          JOIN catalog_price AS price ON price.sku_id = sku.id AND price.active_to IS NULL
         ) AS model ON model.place = n %% model.total
"""

CAP = """
    UPDATE billing_spendcap SET limit_nano = spent.amount * 2, settled_nano = spent.amount
    FROM (SELECT coalesce(sum(amount_nano), 0)::bigint AS amount FROM billing_usagebyhour
          WHERE organization_id = %(organization)s) AS spent
    WHERE organization_id = %(organization)s AND scope = 'organization'
"""

STATEMENTS = (PROJECTS, KEYS, INSTANCES, EVENTS, BUCKETS, DAYS_OF_BUCKETS, EXPLANATIONS, CAUSES, RECEIPTS, CAP)


class Command(BaseCommand):
    help = "Make one very large organization to measure pages with (development only)"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--instances", type=int, default=10_000)
        parser.add_argument("--events", type=int, default=1_000_000)
        parser.add_argument("--projects", type=int, default=1_000)
        parser.add_argument("--name", default=NAME)

    def handle(self, *args: Any, instances: int, events: int, projects: int, name: str, **options: Any) -> None:
        if not settings.DEVELOPMENT:
            raise CommandError("Benchmark data is for development only.")
        now = timezone.now()
        with as_platform():
            if User.objects.filter(email=email_of(name)).exists():
                raise CommandError(f"{name} exists already: choose another --name, or `make reset` empties everything.")
            make_partitions(first=(now - timedelta(days=DAYS)).date(), day_count=DAYS + 1)
            organization = make(name=name, instances=instances, events=events, projects=projects, now=now)
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT count(*), sum(amount_nano) FROM billing_usagebyhour WHERE organization_id = %s",
                    [organization.pk],
                )
                buckets, amount = cursor.fetchone()
        self.stdout.write(
            f"{organization.slug}: {instances} instances, {events} events in {buckets} buckets, {amount} nano-dollars"
        )


def email_of(name: str) -> str:
    """Return the address that the organization's owner signs in with."""
    return f"{slugify(name)}@headroom.example"


@transaction.atomic
def make(*, name: str, instances: int, events: int, projects: int, now: datetime) -> Organization:
    """Make the organization and its rows; usage lies in the 30 days before the current hour."""
    owner = User.objects.create_user(email_of(name))
    EmailAddress.objects.create(user=owner, email=owner.email, verified=True, primary=True)
    organization = create_organization(owner=owner, name=name, kind=Organization.Kind.ENTERPRISE, now=now)
    lock_cap(organization_id=organization.pk, now=now)
    end = hour_of(now)
    values: dict[str, int | str | datetime] = {
        "organization": organization.pk,
        # What the public ids of its rows begin with: they are unique across organizations.
        "mark": f"b{organization.pk:07d}",
        "start": end - timedelta(days=DAYS),
        "end": end,
        "instances": instances,
        "events": events,
        "events_per_request": EVENTS_PER_REQUEST,
        "receipts": max(1, events // EVENTS_PER_REQUEST),
        "running": max(1, instances // INSTANCES_PER_RUNNING),
        "launch_every": f"{timedelta(days=DAYS).total_seconds() / max(1, instances)} seconds",
        "projects": projects,
        "project_count": projects + 1,
    }
    with connection.cursor() as cursor:
        for statement in STATEMENTS:
            cursor.execute(statement, values)
    return organization
