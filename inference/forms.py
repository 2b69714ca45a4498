"""What the addresses of inference's pages may say."""

from django import forms
from django.http import QueryDict
from django.utils.translation import gettext_lazy as _

from accounts.models import ApiKey, Organization
from catalog.models import ServedModel
from inference.models import Receipt
from inference.selectors import ReceiptFilters

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
