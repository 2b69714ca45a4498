"""What an organization's terms let it run: in which regions, and how many instances of a kind at once."""

from typing import ClassVar

from django.utils.translation import gettext as _

from accounts.models import Organization
from billing.selectors.terms import terms_in_force
from catalog.models import InstanceType, Region
from compute.models import Instance
from portal.lib.errors import DomainError


class BeyondTerms(DomainError):
    """More, or elsewhere, than was agreed; `str(error)` says the limit, whose it is and how it is raised."""

    code: ClassVar[str] = "quota_exceeded"


def refuse_other_region(organization: Organization, region: Region) -> None:
    """Raise BeyondTerms for a region that the terms in force do not name, where they name some."""
    terms = terms_in_force(organization.pk)
    if terms is None or not terms.regions or region.name in terms.regions:
        return
    raise BeyondTerms(
        _(
            "The terms of %(organization)s are for %(regions)s only: choose a region of those, or ask whoever you"
            " agreed on the terms with for new ones."
        )
        % {"organization": organization.name, "regions": ", ".join(terms.regions)}
    )


def refuse_beyond_quota(
    organization: Organization, instance_type: InstanceType, count: int, *, besides: Instance | None = None
) -> None:
    """Raise BeyondTerms where `count` more instances would be above the quota of their kind in the terms in force.

    Counted are those that hold a unit of capacity, whatever state they are in; `besides` is not. Asked before
    anything is held, so that the sentence is the right one, and again under the lock of the organization's credit,
    where nobody else can pass it at once.
    """
    terms = terms_in_force(organization.pk)
    quota = None if terms is None else terms.quotas.get(instance_type.kind)
    if quota is None:
        return
    holding = Instance.objects.owned_by(organization).filter(holds_unit=True, instance_type__kind=instance_type.kind)
    used = (holding if besides is None else holding.exclude(pk=besides.pk)).count()
    if used + count <= quota:
        return
    raise BeyondTerms(
        _(
            "The terms of %(organization)s allow %(quota)d %(kind)s instances at once, and %(used)d are there: stop or"
            " end some, or ask whoever you agreed on the terms with for a higher number."
        )
        % {
            "organization": organization.name,
            "quota": quota,
            "kind": instance_type.get_kind_display(),
            "used": used,
        }
    )
