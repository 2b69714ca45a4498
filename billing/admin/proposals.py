"""Pages of staff for what one of them proposes and another decides: a list, a form, two buttons for what waits."""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, ClassVar

from django import forms
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext as _

from accounts.admin.reading import ReadingAdmin
from accounts.models import Organization, User
from billing.admin.steps import say_done, take_step
from billing.selectors.staff_invoices import ProposalRow
from portal.lib.errors import DomainError
from portal.lib.tenancy import as_platform

type Words = str | Promise


class ProposalsAdmin(ReadingAdmin):
    """Proposals of all organizations: those that wait for a second person, then the newest.

    propose_right, decide_right: of staff. decisions: name of the step -> service that takes it, by the name `subject`
    of its argument; the first one is the agreement, whose button says `agree`.
    """

    propose_right: ClassVar[str]
    decide_right: ClassVar[str]
    form_class: ClassVar[type[forms.Form]]
    subject: ClassVar[str]
    decisions: ClassVar[Mapping[str, Callable[..., object]]]
    title: ClassVar[Words]
    lead: ClassVar[Words]
    form_title: ClassVar[Words]
    agree: ClassVar[Words]

    @abstractmethod
    def rows(self) -> Sequence[ProposalRow]:
        """Return what the page lists."""

    @abstractmethod
    def propose(self, form: Any, *, organization: Organization, by: User, now: datetime) -> object:
        """Propose what the form says. Raises DomainError."""

    def get_urls(self) -> list[URLPattern]:
        name = f"{self.opts.app_label}_{self.opts.model_name}_changelist"
        return [path("", self.admin_site.admin_view(self.proposals), name=name)]

    def proposals(self, request: HttpRequest) -> HttpResponse:
        """List proposals; POST makes one, or decides one."""
        self.check_reading(request)
        form = self.form_class(request.POST if request.POST.get("step") == "propose" else None)
        may_propose, may_decide = request.user.has_perm(self.propose_right), request.user.has_perm(self.decide_right)
        if request.method == "POST":
            by = self.check_changing(request, is_allowed=may_propose if form.is_bound else may_decide)
            with as_platform():
                is_done = self._proposed(request, form, by) if form.is_bound else self._decided(request, by)
            if is_done:
                return redirect(request.path)
        with as_platform():
            rows = self.rows()
        context = {
            "title": self.title,
            "lead": self.lead,
            "form_title": self.form_title,
            "agree": self.agree,
            "step": next(iter(self.decisions)),
            "rows": rows,
            "form": form if may_propose else None,
            "may_decide": may_decide,
            "me": self.staff(request).public_id,
        }
        return self.answer(request, "admin/proposals.html", context)

    def _proposed(self, request: HttpRequest, form: forms.Form, by: User) -> bool:
        """Propose what the form says; False, with the form saying why, when that is refused."""
        if not form.is_valid():
            return False
        organization = Organization.objects.filter(slug=form.cleaned_data["organization"]).first()
        if organization is None:
            form.add_error("organization", _("There is no organization with this address."))
            return False
        try:
            self.propose(form, organization=organization, by=by, now=timezone.now())
        except DomainError as error:
            form.add_error(None, str(error))
            return False
        say_done(request)
        return True

    def _decided(self, request: HttpRequest, by: User) -> bool:
        """Take a decision; False, with a message, when that is refused. Raises Http404."""
        public_id = request.POST.get("proposal", "")
        # PostgreSQL takes no NUL in a text.
        proposal = None if "\0" in public_id else self.model.objects.filter(public_id=public_id).first()
        if proposal is None:
            raise Http404
        decide = self.decisions.get(request.POST.get("step", ""))
        return take_step(request, decide and partial(decide, **{self.subject: proposal}, by=by, now=timezone.now()))
