"""Launch instances: one transaction that sells, holds and writes down; reconcilers do the rest from the rows."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import ClassVar

from django.db import connection, transaction
from django.utils.translation import gettext as _

from accounts.models import ApiKey, Project, User
from accounts.services.audit import Changes
from billing.selectors import prices_for
from catalog.models import Image, InstanceType, LeaseClass, Region
from catalog.models.price import kept_sku_code
from catalog.selectors import UnitPrice
from compute.models import Instance, Pool, SshKey
from compute.services.agreed import refuse_beyond_quota, refuse_other_region
from compute.services.capacity import take_units
from compute.services.funding import fund_anew
from compute.services.instances import BOOT_PATIENCE, NAME, record_instance_event
from compute.services.ssh_keys import add_ssh_key, parse_public_key
from compute.services.timeline import tell
from portal.lib.crashpoints import crashpoint
from portal.lib.errors import DomainError
from portal.lib.jobs import enqueue
from portal.lib.public_ids import random_base62

MAXIMUM_QUANTITY = 16
MAXIMUM_USER_DATA_BYTES = 16_384
MAXIMUM_IDEMPOTENCY_KEY = 255
LONGEST_LIFE = timedelta(days=366)


class UnableToLaunch(DomainError):
    """Something in the request cannot be had; `field` names it as the forms and the API do."""

    status: ClassVar[HTTPStatus] = HTTPStatus.UNPROCESSABLE_ENTITY
    code: ClassVar[str] = "invalid_parameters"

    def __init__(self, field: str, text: str) -> None:
        super().__init__(text)
        self.field = field


class LaunchConflict(DomainError):
    """The idempotency key belongs to another launch."""

    code: ClassVar[str] = "idempotency_conflict"


@dataclass(frozen=True, slots=True)
class LaunchRequest:
    """What to launch.

    new_public_key: another key for it, as pasted, which is saved too. name: empty for a generated one.
    user_data: a script that the first boot runs once.
    """

    project: Project
    instance_type: InstanceType
    region: Region
    image: Image
    lease_class: LeaseClass
    ssh_keys: Sequence[SshKey]
    new_public_key: str = ""
    launched_by: User | None = None
    launched_with: ApiKey | None = None
    name: str = ""
    user_data: str = ""
    expires_at: datetime | None = None
    quantity: int = 1
    idempotency_key: str | None = None

    def digest(self) -> str:
        """Return what two requests under one idempotency key must share; a date counted from now is not part."""
        facts = [
            self.project.pk,
            self.instance_type.name,
            self.region.name,
            self.image.name,
            self.lease_class.value,
            sorted(key.fingerprint for key in self.ssh_keys),
            self.new_public_key,
            self.name,
            self.user_data,
            self.expires_at is None,
            self.quantity,
        ]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Launched:
    """The instances of a launch; `is_replay` when an earlier request with the same key had made them."""

    instances: tuple[Instance, ...]
    is_replay: bool


@transaction.atomic
def launch_instances(*, request: LaunchRequest, now: datetime) -> Launched:
    """Sell the units, hold the first lease of each and write down what should run; all or nothing.

    Reconcilers do the rest, from the rows. With an idempotency key a repeated request returns the same
    instances for as long as they exist. Raises UnableToLaunch, InvalidSshKey, LaunchConflict,
    BeyondTerms, InsufficientCapacity or BudgetExceeded; then nothing has changed.
    """
    _refuse_unusable_key(request.idempotency_key)
    if earlier := _launched_before(request):
        return Launched(earlier, is_replay=True)
    _refuse_impossible(request, now)
    if not request.project.organization.may_have_new:
        raise UnableToLaunch("instance_type", _("A bill is overdue: pay it, and instances can be launched again."))
    refuse_other_region(request.project.organization, request.region)
    refuse_beyond_quota(request.project.organization, request.instance_type, request.quantity)
    sku = request.instance_type.sku(request.lease_class)
    price = prices_for(request.project.organization_id, [sku], now).get(sku)
    if price is None:
        raise UnableToLaunch("lease_class", _("This instance type is not sold in this lease class."))

    if request.new_public_key.strip():
        parse_public_key(request.new_public_key)
    pool = take_units(region=request.region, instance_type=request.instance_type, count=request.quantity)
    instances = _instances(request, pool, price, now)
    for instance in instances:
        fund_anew(instance, now=now)
    refuse_beyond_quota(request.project.organization, request.instance_type, request.quantity)
    # Only now: the audit log is locked from its first entry on, and whoever holds units or budget waits for it.
    ssh_keys = [*request.ssh_keys, *_pasted_key(request, now)]
    for instance in instances:
        instance.ssh_key_names = [key.name for key in ssh_keys]
        instance.authorized_keys = [key.public_key for key in ssh_keys]
        instance.save(force_insert=True)
        tell(instance, _("Launch accepted. Billing starts when the instance answers."), now=now)
        enqueue("compute.reconcile_instance", instance_id=instance.pk)
    for instance in instances:
        record_instance_event("instance.launched", instance, changes=_facts(instance), now=now)
    crashpoint("launch_before_commit")
    return Launched(tuple(instances), is_replay=False)


def _instances(request: LaunchRequest, pool: Pool, price: UnitPrice, now: datetime) -> list[Instance]:
    """Return the rows to be, without funds and SSH keys."""
    base = request.name or f"{request.instance_type.accelerator or 'cpu'}-{random_base62(4)}".lower().replace(" ", "-")
    return [
        Instance(
            organization_id=request.project.organization_id,
            project=request.project,
            name=base if request.quantity == 1 else f"{base}-{index + 1}",
            pool=pool,
            region=request.region,
            instance_type=request.instance_type,
            image=request.image,
            lease_class=request.lease_class,
            user_data=request.user_data,
            launched_by=request.launched_by,
            launched_with=request.launched_with,
            idempotency_key=request.idempotency_key,
            launch_index=index,
            request_digest=request.digest(),
            state_since=now,
            give_up_at=now + BOOT_PATIENCE,
            created_at=now,
            expires_at=request.expires_at,
            sku=price.sku,
            kept_sku=kept_sku_code(price.sku, (price.list_price or price).price_id),
            price_id=price.price_id,
            price_nano=price.price_nano,
            unit_size=price.unit_size,
            notice_seconds=request.lease_class.notice_seconds or 0,
            next_check_at=now,
        )
        for index in range(request.quantity)
    ]


def _facts(instance: Instance) -> Changes:
    return {
        "name": (None, instance.name),
        "instance_type": (None, instance.instance_type.name),
        "region": (None, instance.region.name),
        "lease_class": (None, instance.lease_class),
        "project": (None, instance.project.public_id),
        "ssh_keys": (None, instance.ssh_key_names),
    }


def _refuse_unusable_key(key: str | None) -> None:
    if key is not None and not (0 < len(key) <= MAXIMUM_IDEMPOTENCY_KEY and key.isascii() and key.isprintable()):
        text = _("An Idempotency-Key has 1 to %(most)d printable ASCII characters.")
        raise UnableToLaunch("idempotency_key", text % {"most": MAXIMUM_IDEMPOTENCY_KEY})


def _launched_before(request: LaunchRequest) -> tuple[Instance, ...]:
    if request.idempotency_key is None:
        return ()
    organization = request.project.organization
    # The same key twice at once: the second waits here until the first has committed or failed.
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended(%s, %s))", [request.idempotency_key, organization.pk]
        )
    mine = Instance.objects.owned_by(organization).filter(idempotency_key=request.idempotency_key)
    earlier = tuple(mine.order_by("launch_index"))
    if earlier and earlier[0].request_digest != request.digest():
        raise LaunchConflict(_("This idempotency key was used for another launch: send a new key."))
    return earlier


def _pasted_key(request: LaunchRequest, now: datetime) -> list[SshKey]:
    """Return the pasted key, saved unless it was before; nothing when none was pasted or it was chosen as well."""
    if not request.new_public_key.strip():
        return []
    organization = request.project.organization
    parsed = parse_public_key(request.new_public_key)
    known = SshKey.objects.owned_by(organization).filter(fingerprint=parsed.fingerprint).first()
    is_taken = SshKey.objects.owned_by(organization).filter(name=parsed.comment).exists()
    ssh_key = known or add_ssh_key(
        organization=organization,
        name=f"{parsed.comment[:70]} {parsed.fingerprint[-6:]}" if is_taken else parsed.comment,
        public_key=request.new_public_key,
        created_by=request.launched_by,
        now=now,
    )
    return [] if ssh_key in request.ssh_keys else [ssh_key]


def _refuse_impossible(request: LaunchRequest, now: datetime) -> None:
    for is_wrong, field, text in (
        (
            request.name and not NAME.fullmatch(request.name),
            "name",
            _("A name has up to 63 letters, digits and hyphens, and starts and ends with a letter or digit."),
        ),
        (
            request.quantity not in range(1, MAXIMUM_QUANTITY + 1),
            "quantity",
            _("Launch between 1 and 16 instances at once."),
        ),
        (
            request.lease_class.notice_seconds is None,
            "lease_class",
            _("Reserved capacity comes with a contract: choose on demand or surplus."),
        ),
        (not request.instance_type.is_listed, "instance_type", _("This instance type is not offered any more.")),
        (
            not request.image.is_listed or request.instance_type.kind not in request.image.kinds,
            "image",
            _("This image does not run on this instance type: choose another."),
        ),
        (
            not request.ssh_keys and not request.new_public_key.strip(),
            "ssh_keys",
            _("Choose or paste at least one SSH key: it is the only way in."),
        ),
        (
            len(request.user_data.encode()) > MAXIMUM_USER_DATA_BYTES,
            "user_data",
            _("A start script has at most 16 KiB: let it download what is larger."),
        ),
        (
            request.expires_at is not None and not now < request.expires_at <= now + LONGEST_LIFE,
            "expires_at",
            _("The end must lie in the future, within a year."),
        ),
    ):
        if is_wrong:
            raise UnableToLaunch(field, text)
