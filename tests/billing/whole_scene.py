"""What the machine of test_whole_machine.py works on: prices, strategies, an organization and its payments."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from accounts.models import ApiKey, Organization, Project, User
from accounts.services.staff import StaffGroup
from billing.models import (
    Payment,
    Refund,
)
from billing.services.credits import lock_cap
from billing.services.month_closing import GRACE
from portal.lib.money import NANO_PER_USD
from tests.accounts.test_legal_holds import make_staff
from tests.billing.whole_reckoning import Grant, Rate
from tests.factories.accounts import make_key, make_organization, make_project, make_user
from tests.factories.terms import put_terms_in_force

# Neither is a whole number of nano-dollars for a unit.
RATES = {"model.demo.input": Rate(800_000_003, 1_000_000), "instance.gpu_1x.surplus": Rate(2_490_000_001, 3_600)}
SKUS = list(RATES)
PRODUCTS = {"model.demo.input": "models", "instance.gpu_1x.surplus": "instances"}
START = datetime(2028, 1, 29, 21, 30, tzinfo=UTC)  # before the end of a day, a week and a month, and of a leap day
STARTER, TERMS = 5 * NANO_PER_USD, 15 * NANO_PER_USD
OLDEST = timedelta(days=34)

PICK = st.integers(0, 40)
PERCENT = st.sampled_from([20, *range(1, 41, 3), 60, 100, 101, 150])
PERIODS = st.sampled_from(["day", "week", "month", "lifetime"])
# The organization, two projects, a key; and who works: a project by itself or through the key.
CAPS = st.tuples(st.integers(0, 3), PERIODS, st.sampled_from([30, None, -10, 0, 10, 40, 80]), st.booleans())
WORKERS = st.integers(0, 2)
HOLDS = st.tuples(WORKERS, PERCENT, st.integers(60, 6_000) | st.integers(6_000, 3_000_000))
# Who, what, how much of the room, and seconds ago.
USES = st.tuples(WORKERS, st.integers(0, 1), PERCENT, st.integers(0, 4_000) | st.integers(4_000, 2_000_000))
PAUSES = st.one_of(
    st.just(0),
    st.integers(0, 6_000),
    st.integers(3_600, 3_000_000),
    st.tuples(st.sampled_from(["day", "month"]), st.sampled_from([-1, 0, 1, GRACE.days * 86_400])),
)
# What the provider says of a payment, one after the other.
HEARD = st.lists(st.sampled_from(["succeeded", "succeeded", "processing", "failed", "canceled"]), max_size=3)
DISPUTED = st.lists(
    st.sampled_from(["warning_needs_response", "needs_response", "under_review", "won", "lost", "lost"]),
    min_size=1,
    max_size=3,
)
UNFINISHED = ("created", "pending", "processing")


@dataclass(frozen=True)
class Scene:
    """An organization with its account open, and the people around it; the same for every run."""

    organization: Organization
    projects: list[Project]
    key: ApiKey
    user: User
    proposer: User
    approver: User
    may_owe: bool


@dataclass(slots=True)
class Paid:
    """A payment as we know it. cents: of it and gone back; owed: what its lost dispute left."""

    row: Payment
    cents: int
    purpose: str
    invoice: int | None = None
    state: str = "pending"
    grant: Grant | None = None
    refunded: int = 0
    dispute: str = ""
    disputed: int = 0
    frozen: int = 0

    @property
    def is_withdrawn(self) -> bool:
        return self.dispute in ("open", "answered", "lost")


@dataclass(slots=True)
class Back:
    """A refund that was approved."""

    row: Refund
    paid: Paid
    cents: int
    state: str = "approved"


def make_scene(*, may_owe: bool) -> Scene:
    organization = make_organization()
    first = make_project(organization)
    projects = [first, make_project(organization, "Second")]
    lock_cap(organization_id=organization.pk, now=START)
    if may_owe:
        put_terms_in_force(organization, TERMS, now=START)
    key = make_key(first, now=START).api_key
    one, other = make_staff(StaffGroup.FINANCE), make_staff(StaffGroup.FINANCE)
    return Scene(organization, projects, key, make_user(), one, other, may_owe)
