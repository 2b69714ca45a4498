"""Organizations that pay beside each other. It holds without row-level security too (tests/test_tenant_mutants.py)."""

from accounts.models import Role
from billing.models import BillingAccount
from tests.billing.payments.test_top_ups import add
from tests.factories.accounts import make_membership, make_organization


def test_two_organizations_are_two_customers(double, browser, organization):
    add(browser, organization)
    other = make_membership(make_organization(name="Other"), role=Role.BILLING)
    browser.force_login(other.user)
    add(browser, other.organization)

    assert {customer.name for customer in double.v1.customers.list().data} == {"Acme", "Other"}
    mine = {session.customer for session in double.v1.checkout.sessions.list().data}
    assert mine == set(BillingAccount.objects.values_list("stripe_customer_id", flat=True))
