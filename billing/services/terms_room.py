"""How much room terms give in an organization's credit. Rules: docs/algorithms/terms.md."""

from billing.models import SpendCap
from billing.models.cap import passed_warning
from billing.selectors.terms import owed_nano_of, terms_in_force


def fit_room(*, organization_id: int) -> int:
    """Give as much room for debt as the terms in force say, and return by how much more is still given.

    More is given, in nano-dollars, where terms became lower: what is owed, and what running work holds, stays until
    it is paid or ended. The caller holds the lock of the organization's credit.
    """
    cap = SpendCap.objects.of_organization(organization_id).get()
    agreed = terms_in_force(organization_id)
    limit_nano = 0 if agreed is None else agreed.credit_limit_nano
    # Taking more than the room that is left would break the cap; taking what is owed would take it twice.
    kept_nano = min(cap.terms_nano, max(cap.terms_nano - cap.remaining_nano, owed_nano_of(organization_id)))
    given_nano = max(limit_nano, kept_nano)
    if given_nano != cap.terms_nano:
        cap.limit_nano += given_nano - cap.terms_nano
        cap.terms_nano = given_nano
        # Whoever has more room hears again when the end of it comes near.
        cap.warned_percent = min(cap.warned_percent, passed_warning(cap.settled_nano, cap.limit_nano))
        cap.save(update_fields=["limit_nano", "terms_nano", "warned_percent"])
    return given_nano - limit_nano


def take_room(*, organization_id: int, amount_nano: int) -> None:
    """Let a debt that came back take room again; what is used meanwhile counts as given beyond the terms.

    The caller holds the lock of the organization's credit.
    """
    cap = SpendCap.objects.of_organization(organization_id).get()
    missing_nano = max(amount_nano - cap.remaining_nano, 0)
    cap.limit_nano -= amount_nano - missing_nano
    cap.terms_nano += missing_nano
    cap.save(update_fields=["limit_nano", "terms_nano"])
    fit_room(organization_id=organization_id)
