"""Who an organization is at the payment provider."""

from datetime import timedelta

from accounts.models import Organization
from billing.gateways import payment_provider
from billing.models import BillingAccount
from billing.services.provider_keys import renewing_key_of

CLOCKS_DIFFER = timedelta(minutes=10)


def customer_of(organization: Organization) -> str:
    """Return who the organization is at the provider; the first time makes it known there, by its name alone.

    Its BillingAccount must be committed. Raises ProviderTrouble, ProviderRefusal.
    """
    account = BillingAccount.objects.owned_by(organization).get()
    if account.stripe_customer_id is not None:
        return account.stripe_customer_id
    customer_id = account.generation and payment_provider.find_customer(
        organization_id=organization.public_id, since=account.created_at - CLOCKS_DIFFER
    )
    if not customer_id:
        with renewing_key_of(account):
            customer_id = payment_provider.create_customer(
                name=organization.name,
                organization_id=organization.public_id,
                idempotency_key=f"customer:{organization.public_id}:{account.generation}",
            )
    # Two at once are given the same customer, by the same key.
    BillingAccount.objects.filter(pk=account.pk).update(stripe_customer_id=customer_id)
    return customer_id
