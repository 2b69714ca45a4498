"""What the addresses of inference's pages may say."""

from django import forms
from django.http import QueryDict
from django.utils.translation import gettext_lazy as _

from accounts.models import ApiKey, Organization
from catalog.models import Region, ServedModel
from inference.models import Receipt
from inference.selectors import ReceiptFilters
from inference.services.offering import LARGEST, Offering

# A menu of a thousand keys is no help to anybody, and most of the page.
OFFERED_KEYS = 50


def _offered_keys(organization: Organization, chosen: str) -> list[tuple[str, str]]:
    """Return the newest keys, and the chosen one wherever it stands."""
    keys = ApiKey.objects.owned_by(organization)
    found = list(keys.newest_first().values_list("public_id", "name")[:OFFERED_KEYS])
    if chosen and "\0" not in chosen and chosen not in dict(found):
        found += keys.filter(public_id=chosen).values_list("public_id", "name")
    return found


class ReceiptFilterForm(forms.Form):
    """What the list of requests is narrowed to."""

    def __init__(self, query: QueryDict, organization: Organization) -> None:
        super().__init__(query)
        models = ServedModel.objects.order_by("name").values_list("name", "name")
        keys = _offered_keys(organization, query.get("key", ""))
        every = [("", _("All"))]
        self.fields["model"] = forms.ChoiceField(label=_("Model"), required=False, choices=[*every, *models])
        self.fields["key"] = forms.ChoiceField(label=_("API key"), required=False, choices=[*every, *keys])
        self.fields["status"] = forms.ChoiceField(
            label=_("Status"), required=False, choices=[*every, *Receipt.Status.choices]
        )

    def filters(self) -> ReceiptFilters:
        cleaned = self.cleaned_data
        return ReceiptFilters(cleaned.get("model", ""), cleaned.get("key", ""), cleaned.get("status", ""))

    def address_query(self, after: str) -> str:
        """Return the query of the next page's address."""
        query = QueryDict(mutable=True)
        for name, value in self.cleaned_data.items():
            if value:
                query[name] = value
        query["after"] = after
        return query.urlencode()


class ProjectRegionForm(forms.Form):
    """Where a project's requests to models are served."""

    region = forms.ChoiceField(
        label=_("Region"),
        required=False,
        help_text=_("A model that is not served there cannot be called; no request is ever served elsewhere."),
    )

    def __init__(self, data: QueryDict | None, *, current: str) -> None:
        super().__init__(data, initial={"region": current})
        field = self.fields["region"]
        assert isinstance(field, forms.ChoiceField)  # noqa: S101  # for the type checker
        regions = Region.objects.order_by("name").values_list("name", "description")
        field.choices = [("", _("Any region")), *((name, f"{title} ({name})") for name, title in regions)]


class OfferingForm(forms.Form):
    """For staff: how a deployment works for customers."""

    deployment = forms.CharField(label=_("Deployment"), max_length=32)
    weight = forms.IntegerField(label=_("Weight"), min_value=1, max_value=1000)
    concurrent_requests = forms.IntegerField(
        label=_("Requests at once"),
        min_value=1,
        max_value=LARGEST,
        required=False,
        help_text=_("Over all gateways; more wait in line. Empty: as many as come."),
    )
    offered_percent = forms.IntegerField(
        label=_("Offered, percent"), min_value=0, max_value=100, help_text=_("At 0 it gets nothing new.")
    )
    is_draining = forms.BooleanField(label=_("Draining"), required=False)
    is_enabled = forms.BooleanField(label=_("Enabled"), required=False)

    def offering(self) -> Offering:
        given = dict(self.cleaned_data)
        given.pop("deployment")
        return Offering(**given)
