"""Write down who did what: the last statement of every service that changes something for a customer."""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta

from django.db import connection

from accounts.models import AuditEndpoint, AuditEvent, User
from portal.lib.context import Actor, Origin, current_actor, current_origin
from portal.lib.jobs import enqueue
from portal.lib.public_ids import new_orig_id

type Value = str | int | bool | list[str] | None
# What a change was from and to, by name of the field.
type Changes = Mapping[str, tuple[Value, Value]]


def record_event(
    action: str,
    *,
    organization_id: int,
    target: tuple[str, str],
    now: datetime,
    changes: Changes | None = None,
    actor: Actor | None = None,
) -> None:
    """Append an entry to an organization's audit log, in the caller's transaction.

    action: noun and past participle, such as key.revoked. target: kind and public id of what it was done to.
    changes: fields that a reader may see, each from and to; never a secret. actor: only where no door knows who acts,
    as at sign-up. Call it last: from here to the commit the organization's log is locked.
    """
    actor = actor or current_actor()
    origin = current_origin()
    _name_deliveries(organization_id)
    AuditEvent.objects.create(
        organization_id=organization_id,
        at=now,
        actor_kind=actor.kind,
        actor_id=actor.public_id,
        via=actor.via,
        impersonator_id=actor.impersonator,
        action=action,
        target_kind=target[0],
        target_id=target[1],
        changes=json.dumps(changes or {}, sort_keys=True, ensure_ascii=False),
        origin_id=_origin_id(organization_id, actor, origin, now) if origin.address else "",
        request_id=origin.request_id,
    )


# Entries that are written together arrive together.
GATHERING = timedelta(seconds=1)


def _name_deliveries(organization_id: int) -> None:
    """Hint that the log has more to send, where it is sent anywhere."""
    endpoints = AuditEndpoint.objects.filter(organization_id=organization_id, paused_at=None)
    for endpoint_id in endpoints.values_list("pk", flat=True):
        enqueue("accounts.deliver_to_audit_endpoint", after=GATHERING, endpoint_id=endpoint_id)


def person(user: User) -> Actor:
    """Return the actor that a signed-in person is, where the door has not let them in yet."""
    return Actor(kind=AuditEvent.ActorKind.USER.value, public_id=user.public_id, via=AuditEvent.Via.SESSION.value)


def staff_actor(user: User) -> Actor:
    """Return the actor that a member of staff is, who works in the admin."""
    return Actor(kind=AuditEvent.ActorKind.USER.value, public_id=user.public_id, via=AuditEvent.Via.STAFF.value)


def changed(**fields: tuple[Value, Value]) -> Changes:
    """Return those of the fields that really changed."""
    return {name: pair for name, pair in fields.items() if pair[0] != pair[1]}


_FIND_OR_ADD = """
    WITH known AS (
        SELECT public_id FROM accounts_auditorigin
        WHERE organization_id = %(organization)s AND actor_id = %(actor)s AND address = %(address)s
          AND browser = %(browser)s
    ), added AS (
        INSERT INTO accounts_auditorigin (organization_id, public_id, actor_id, address, browser, first_seen_at)
        SELECT %(organization)s, %(public_id)s, %(actor)s, %(address)s, %(browser)s, %(now)s
        WHERE NOT EXISTS (SELECT FROM known)
        ON CONFLICT (organization_id, actor_id, address, browser) DO UPDATE SET address = EXCLUDED.address
        RETURNING public_id
    )
    SELECT public_id FROM known UNION ALL SELECT public_id FROM added
"""


def _origin_id(organization_id: int, actor: Actor, origin: Origin, now: datetime) -> str:
    with connection.cursor() as cursor:
        values: dict[str, int | str | datetime] = {
            "organization": organization_id,
            "actor": actor.public_id,
            "address": origin.address,
            "browser": origin.browser,
            "public_id": new_orig_id(),
            "now": now,
        }
        cursor.execute(_FIND_OR_ADD, values)
        return str(cursor.fetchone()[0])
