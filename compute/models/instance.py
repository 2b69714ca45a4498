"""Instances, the intervals in which they were healthy, and the story that their page tells."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import ArrayField, DateTimeRangeField, RangeBoundary, RangeOperators
from django.db import models
from django.db.models import F, Func, Q
from django.utils.translation import gettext_lazy as _

from accounts.models import ApiKey, Organization, Project, User
from catalog.models import Image, InstanceType, LeaseClass, Region
from compute.models.pool import Pool
from compute.reconcile import AT_REST, FINAL, TRANSITIONS, State, Want
from portal.lib.public_ids import engine_name, new_inst_id

STATE_LABELS = {
    State.QUEUED: _("Queued"),
    State.PROVISIONING: _("Provisioning"),
    State.BOOTING: _("Booting"),
    State.ACTIVE: _("Active"),
    State.UNHEALTHY: _("Unhealthy"),
    State.STOPPING: _("Stopping"),
    State.STOPPED: _("Stopped"),
    State.PREEMPTED: _("Preempted"),
    State.FAILED: _("Failed"),
    State.TERMINATING: _("Terminating"),
    State.TERMINATED: _("Terminated"),
}
STATES = [(state.value, label) for state, label in STATE_LABELS.items()]
WANTS = [
    (Want.RUNNING.value, _("Running")),
    (Want.STOPPED.value, _("Stopped")),
    (Want.TERMINATED.value, _("Terminated")),
]


class InstanceQuerySet(models.QuerySet["Instance"]):
    def owned_by(self, organization: Organization) -> InstanceQuerySet:
        return self.filter(organization=organization)

    def newest_first(self) -> InstanceQuerySet:
        return self.order_by("-created_at", "-pk")

    def living(self) -> InstanceQuerySet:
        return self.exclude(state__in=[state.value for state in FINAL])

    def due(self, now: datetime) -> InstanceQuerySet:
        """Those a reconciler should look at: their time has come and no other reconciler has them."""
        return self.filter(Q(lease_until=None) | Q(lease_until__lte=now), next_check_at__lte=now)

    def expired(self, now: datetime) -> InstanceQuerySet:
        return self.living().exclude(want=Want.TERMINATED.value).filter(expires_at__lte=now)


class Instance(models.Model):
    """A machine that a customer runs.

    queued -> provisioning -> booting -> active <-> unhealthy -> stopping -> stopped -> booting (started again)
    any of these -> terminating -> terminated; a boot that never succeeds or a lost machine -> failed;
    reclaimed -> preempted. `want` is what should be, `state` what was last seen; reconcilers close the gap.

    `generation` counts accepted changes of `want`: whoever computed something for an older one writes nothing.
    """

    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="instances")
    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="instances")
    public_id = models.CharField(max_length=32, unique=True, default=new_inst_id, editable=False)
    name = models.CharField(_("name"), max_length=64)
    pool = models.ForeignKey(Pool, on_delete=models.PROTECT, related_name="instances")
    region = models.ForeignKey(Region, on_delete=models.PROTECT, related_name="+")
    instance_type = models.ForeignKey(InstanceType, on_delete=models.PROTECT, related_name="+")
    image = models.ForeignKey(Image, on_delete=models.PROTECT, related_name="+")
    lease_class = models.CharField(max_length=20, choices=LeaseClass)
    # Copied at launch, so that deleting a key later takes nothing away from a running machine.
    ssh_key_names = ArrayField(models.CharField(max_length=80))
    authorized_keys = ArrayField(models.TextField())
    user_data = models.TextField(blank=True)
    launched_by = models.ForeignKey(User, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    launched_with = models.ForeignKey(ApiKey, null=True, blank=True, on_delete=models.PROTECT, related_name="+")

    # One launch request may ask for several instances: the key and the place in the request name each.
    idempotency_key = models.CharField(max_length=255, null=True, blank=True)
    launch_index = models.PositiveSmallIntegerField(default=0)
    request_digest = models.CharField(max_length=64, blank=True)

    want = models.CharField(max_length=10, choices=WANTS, default=Want.RUNNING.value)
    state = models.CharField(max_length=12, choices=STATES, default=State.QUEUED.value)
    state_since = models.DateTimeField()
    generation = models.PositiveIntegerField(default=1)
    boot_generation = models.PositiveIntegerField(default=1)
    give_up_at = models.DateTimeField()
    failure_reason = models.TextField(blank=True)
    host = models.CharField(max_length=255, blank=True)
    port = models.PositiveIntegerField(null=True, blank=True)

    created_at = models.DateTimeField()
    usable_at = models.DateTimeField(null=True, blank=True)  # the first passing probe
    expires_at = models.DateTimeField(null=True, blank=True)  # when it is terminated by itself
    ended_at = models.DateTimeField(null=True, blank=True)

    # What a second costs, asked at launch and with every lease; the notice it was promised at launch.
    sku = models.CharField(max_length=160)
    # Another SKU, of which its hours are while that is cheaper: it keeps the list price of the launch.
    kept_sku = models.CharField(max_length=160, blank=True, default="", db_default="")
    price_id = models.CharField(max_length=32)
    price_nano = models.BigIntegerField()  # nano-dollars per unit_size seconds
    unit_size = models.BigIntegerField()  # seconds
    notice_seconds = models.PositiveIntegerField()

    # The hold of budget that funds it (billing.Reservation), and the seconds that it still covers.
    reservation_id = models.BigIntegerField(null=True, blank=True)
    unspent_seconds = models.PositiveIntegerField(default=0)
    # Whether a unit of the pool is taken for it, so that it is given back exactly once.
    holds_unit = models.BooleanField(default=True)

    next_check_at = models.DateTimeField(null=True, blank=True)  # empty: nothing to do until somebody asks
    lease_until = models.DateTimeField(null=True, blank=True)  # a reconciler has it until then

    objects = InstanceQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "id"], name="instance_organization_id"),
            models.UniqueConstraint(
                fields=["organization", "idempotency_key", "launch_index"], name="instance_once_per_launch"
            ),
            models.CheckConstraint(
                condition=~Q(state__in=["terminated", "failed", "preempted"]) | Q(want="terminated"),
                name="instance_ended_is_wanted_by_nobody",
            ),
            models.CheckConstraint(condition=Q(boot_generation__lte=F("generation")), name="instance_boot_not_ahead"),
        ]
        indexes = [
            # The instance list, newest first, page by page.
            models.Index(fields=["organization", "-created_at", "-id"], name="instance_list"),
            # The reconcile sweep; rows at rest are not in it.
            models.Index(fields=["next_check_at"], condition=Q(next_check_at__isnull=False), name="instance_due"),
            # The expiry sweep.
            models.Index(
                fields=["expires_at"],
                condition=Q(expires_at__isnull=False) & ~Q(want="terminated"),
                name="instance_expiring",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.public_id})"

    @property
    def engine_name(self) -> str:
        return engine_name(self.public_id)

    @property
    def is_final(self) -> bool:
        return State(self.state) in FINAL

    @property
    def is_at_rest(self) -> bool:
        """Whether the state will stay as it is until somebody asks for something."""
        return State(self.state) in AT_REST

    def can_become(self, state: State) -> bool:
        return state in TRANSITIONS[State(self.state)]

    @property
    def can_stop(self) -> bool:
        return self.want == Want.RUNNING and self.can_become(State.STOPPING)

    @property
    def can_start(self) -> bool:
        return self.state == State.STOPPED and self.want == Want.STOPPED

    @property
    def can_restart(self) -> bool:
        return self.want == Want.RUNNING and self.state in {State.ACTIVE, State.UNHEALTHY}

    @property
    def can_terminate(self) -> bool:
        return self.want != Want.TERMINATED


class _Span(Func):
    function = "TSTZRANGE"
    output_field = DateTimeRangeField()


class HealthIntervalQuerySet(models.QuerySet["HealthInterval"]):
    def open(self) -> HealthIntervalQuerySet:
        return self.filter(ended_at=None)


class HealthInterval(models.Model):
    """A span [started_at, ended_at) of full seconds in which an instance was confirmed healthy: what is billed.

    The start is rounded up and the end down to a second, so that nothing is billed that did not run.
    """

    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="+")
    instance = models.ForeignKey(Instance, on_delete=models.PROTECT, related_name="health_intervals")
    started_at = models.DateTimeField()
    confirmed_to = models.DateTimeField()  # the last passing probe
    metered_to = models.DateTimeField()  # usage is recorded up to here
    ended_at = models.DateTimeField(null=True, blank=True)

    objects = HealthIntervalQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "id"], name="health_interval_organization_id"),
            models.UniqueConstraint(
                fields=["instance"], condition=Q(ended_at=None), name="health_interval_one_open_per_instance"
            ),
            models.CheckConstraint(
                condition=Q(confirmed_to__gte=F("started_at"), metered_to__gte=F("started_at"))
                & (Q(ended_at=None) | Q(ended_at__gte=F("started_at"), metered_to=F("ended_at"))),
                name="health_interval_in_order",
            ),
            ExclusionConstraint(
                name="health_interval_never_overlaps",
                expressions=[
                    (_Span("started_at", "ended_at", RangeBoundary()), RangeOperators.OVERLAPS),
                    ("instance", RangeOperators.EQUAL),
                ],
            ),
        ]

    def __str__(self) -> str:
        return f"{self.instance_id} from {self.started_at.isoformat()} ({self.pk})"

    def funded_until(self, unspent_seconds: int) -> datetime:
        """Return the first second that the hold of budget no longer pays."""
        return self.metered_to + timedelta(seconds=unspent_seconds)


class InstanceEvent(models.Model):
    """One line of an instance's story, in words for its customer. Append-only."""

    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="+")
    instance = models.ForeignKey(Instance, on_delete=models.PROTECT, related_name="events")
    at = models.DateTimeField()
    state = models.CharField(max_length=12, choices=STATES)  # the state after it
    text = models.TextField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "id"], name="instance_event_organization_id"),
        ]
        # The timeline on the instance's page.
        indexes = [models.Index(fields=["instance", "at", "id"], name="instance_event_timeline")]

    def __str__(self) -> str:
        return f"{self.instance_id} at {self.at.isoformat()} ({self.pk})"
