"""What people fill in to launch an instance or to add an SSH key."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from django import forms
from django.http import QueryDict
from django.utils.translation import gettext_lazy as _

from accounts.models import Membership, Permission, Project, User
from catalog.models import Image, InstanceType, LeaseClass, Region
from compute.models import SshKey
from compute.selectors.launch import Offer
from compute.services.launching import LaunchRequest
from compute.services.ssh_keys import DuplicateSshKey, InvalidSshKey, PrivateKeyGiven
from portal.lib.public_ids import random_base62
from portal.lib.widgets import LongSelect

SOLD_HERE = (LeaseClass.ON_DEMAND, LeaseClass.SURPLUS)
# What a fresh page proposes: an accelerator that holds a model of some use, for as long as the page proposes too.
PROPOSED_HOURS = 4
PROPOSED_MEMORY_GIB = 24


def free_region(offer: Offer | None) -> str:
    """Return the first region that has the offer; empty when none has."""
    return next((place.region for place in offer.stock if place.is_free), "") if offer else ""


class LaunchForm(forms.Form):
    """One launch: shape and region, image and start script, access, limits."""

    instance_type = forms.ChoiceField(label=_("Instance type"), widget=forms.RadioSelect)
    region = forms.ChoiceField(label=_("Region"))
    lease_class = forms.ChoiceField(
        label=_("Lease class"),
        choices=[(one.value, one.label) for one in SOLD_HERE],
        initial=LeaseClass.ON_DEMAND,
        widget=forms.RadioSelect,
    )
    image = forms.ChoiceField(label=_("Image"))
    user_data = forms.CharField(
        label=_("Start script"),
        required=False,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 3, "spellcheck": "false"}),
        help_text=_("Runs once, on the first boot. At most 16 KiB."),
    )
    ssh_keys = forms.MultipleChoiceField(label=_("Saved SSH keys"), required=False, widget=forms.CheckboxSelectMultiple)
    new_public_key = forms.CharField(
        label=_("Another public key"),
        required=False,
        widget=forms.Textarea(attrs={"rows": 2, "spellcheck": "false", "autocomplete": "off"}),
        help_text=_("The one line of your .pub file. It is saved under SSH keys."),
    )
    name = forms.CharField(label=_("Name"), max_length=63)
    project = forms.ChoiceField(label=_("Project"), widget=LongSelect)
    auto_stop = forms.ChoiceField(
        label=_("Ends by itself"),
        choices=[("after", _("After some hours")), ("at", _("At a date")), ("never", _("Never"))],
        initial="after",
        help_text=_("At its end the instance is terminated and its disk removed."),
    )
    auto_stop_hours = forms.IntegerField(
        label=_("Hours"), min_value=1, max_value=8760, initial=PROPOSED_HOURS, required=False
    )
    auto_stop_at = forms.DateTimeField(
        label=_("Date and time (UTC)"),
        required=False,
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
    )
    request_key = forms.CharField(widget=forms.HiddenInput, max_length=40)

    def __init__(
        self,
        *args: object,
        membership: Membership,
        offers: Sequence[Offer],
        keys: Sequence[SshKey],
        **kwargs: object,
    ) -> None:
        # Django's own signature takes these as they come.
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.organization = membership.organization
        self.offers = {offer.row.name: offer for offer in offers}
        # Where there are pools; the offers know them, so that nothing has to be asked again.
        self.regions = dict(sorted({s.region: s.region_description for offer in offers for s in offer.stock}.items()))
        self.images = {image.name: image for image in Image.objects.filter(is_listed=True).order_by("-version", "name")}
        self.keys = {key.public_id: key for key in keys}
        projects = Project.objects.owned_by(self.organization).in_order().values_list("pk", "public_id", "name")
        # Those in which the member may launch.
        self.projects = {
            public_id: name for pk, public_id, name in projects if membership.may_in(Permission.MANAGE_INSTANCES, pk)
        }
        self._offer_choices()
        if not self.keys:
            self._ask_for_first_key()

    def _offer_choices(self) -> None:
        for name, choices in {
            "instance_type": [(name, offer.row.title) for name, offer in self.offers.items()],
            "region": [(name, self._words_of_region(name)) for name in self.regions],
            "image": [(name, image.description) for name, image in self.images.items()],
            "ssh_keys": [(public_id, f"{key.name} ({key.fingerprint})") for public_id, key in self.keys.items()],
            "project": list(self.projects.items()),
        }.items():
            field = self.fields[name]
            assert isinstance(field, forms.ChoiceField)  # noqa: S101 - what the class body says, for the type checker
            field.choices = choices

    def _ask_for_first_key(self) -> None:
        field = self.fields["new_public_key"]
        field.label, field.required = _("SSH public key"), True
        field.error_messages["required"] = _("Paste a public key: nobody could log in without one.")

    def _words_of_region(self, name: str) -> str:
        words = f"{name} ({self.regions[name]})"
        place = self.chosen_offer.place_in(name) if self.chosen_offer else None
        return words if place is None or place.status == "available" else f"{words}: {place.label}"

    @classmethod
    def starting_values(
        cls, offers: Sequence[Offer], keys: Sequence[SshKey], remaining_nano: int, chosen: str = ""
    ) -> dict[str, object]:
        """Return what a fresh page proposes: the type asked for, or the cheapest free accelerator of some memory.

        Where the budget does not last for that, it is whatever is free and cheapest.
        """
        free = [offer for offer in offers if offer.is_free]
        named = [offer for offer in offers if offer.row.name == chosen]
        useful = [
            offer
            for offer in free
            if offer.row.accelerator_memory_gib >= PROPOSED_MEMORY_GIB
            and offer.can_be_funded(remaining_nano, PROPOSED_HOURS)
        ]
        offer = next(iter(named or useful or free or offers), None)
        return {
            "instance_type": offer.row.name if offer else "",
            "region": free_region(offer),
            "ssh_keys": [key.public_id for key in keys[:1]],
            "name": f"instance-{random_base62(4).lower()}",
            "request_key": random_base62(20),
        }

    @classmethod
    def values_of(cls, query: QueryDict) -> dict[str, object]:
        """Return what a page that is being filled in holds, as initial values."""
        many = {"ssh_keys"}
        return {name: query.getlist(name) if name in many else query[name] for name in cls.base_fields if name in query}

    def values_for_programs(self) -> dict[str, str]:
        """Return the choice in the words of the API."""
        chosen = self["ssh_keys"].value() or []
        names = [key.name for public_id, key in self.keys.items() if public_id in chosen]
        return {
            "instance_type": str(self["instance_type"].value()),
            "region": str(self["region"].value()),
            "lease_class": self.chosen_lease_class,
            "ssh_key": next(iter(names), str(_("name of your SSH key"))),
        }

    def follow_choice(self) -> None:
        """Propose a region where the chosen type is free; for a page that is not sent yet."""
        offer = self.chosen_offer
        place = offer and offer.place_in(str(self["region"].value()))
        if offer and (place is None or not place.is_free):
            self.initial["region"] = free_region(offer)

    @property
    def chosen_offer(self) -> Offer | None:
        return self.offers.get(str(self["instance_type"].value()))

    @property
    def chosen_lease_class(self) -> str:
        value = str(self["lease_class"].value())
        return value if value in {one.value for one in SOLD_HERE} else LeaseClass.ON_DEMAND.value

    def clean(self) -> None:
        values = self.cleaned_data
        match values.get("auto_stop"):
            case "after" if not values.get("auto_stop_hours") and "auto_stop_hours" not in self.errors:
                self.add_error("auto_stop_hours", _("Say after how many hours."))
            case "at" if not values.get("auto_stop_at") and "auto_stop_at" not in self.errors:
                self.add_error("auto_stop_at", _("Say at which date and time."))

    def launch_request(self, *, launched_by: User, now: datetime) -> LaunchRequest:
        """Return the valid form as the service takes it."""
        values = self.cleaned_data
        return LaunchRequest(
            project=Project.objects.owned_by(self.organization).get(public_id=values["project"]),
            instance_type=InstanceType.objects.get(name=values["instance_type"]),
            region=Region.objects.get(name=values["region"]),
            image=self.images[values["image"]],
            lease_class=LeaseClass(values["lease_class"]),
            ssh_keys=[self.keys[public_id] for public_id in values["ssh_keys"]],
            new_public_key=values["new_public_key"],
            launched_by=launched_by,
            name=values["name"],
            user_data=values["user_data"].replace("\r\n", "\n"),
            expires_at=self._expires_at(now),
            # A double click is one launch.
            idempotency_key=f"form:{values['request_key']}",
        )

    def _expires_at(self, now: datetime) -> datetime | None:
        match self.cleaned_data["auto_stop"]:
            case "after":
                return now + timedelta(hours=self.cleaned_data["auto_stop_hours"])
            case "at":
                at: datetime = self.cleaned_data["auto_stop_at"]
                return at
        return None


class SshKeyForm(forms.Form):
    name = forms.CharField(
        label=_("Name"), required=False, max_length=80, help_text=_("Empty: the comment at the end of the key.")
    )
    public_key = forms.CharField(
        label=_("Public key"),
        widget=forms.Textarea(attrs={"rows": 3, "spellcheck": "false", "autocomplete": "off"}),
        help_text=_("The one line of the file that ends in .pub, such as ~/.ssh/id_ed25519.pub."),
    )


def refuse_key(form: forms.Form, field: str, error: InvalidSshKey | DuplicateSshKey) -> None:
    """Say beside the field why the pasted key was refused; a private one is not put back into the page."""
    form.add_error(field, str(error))
    if isinstance(error, PrivateKeyGiven) and isinstance(form.data, QueryDict):
        data = form.data.copy()
        data[field] = ""
        form.data = data
