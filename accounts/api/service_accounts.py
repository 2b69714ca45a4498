"""The REST API of service accounts: /api/v1/service-accounts."""

from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.shortcuts import get_object_or_404
from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request

from accounts.access import KeyAPIView, idempotent
from accounts.api.projects import project_of
from accounts.api.scopes import GivenScopes
from accounts.models import Scope, ServiceAccount
from accounts.models.service_account import LONGEST_DESCRIPTION
from accounts.selectors import ServiceAccountView, service_account_view
from accounts.services.api_keys import CUSTOMER_SCOPES
from accounts.services.service_accounts import (
    create_service_account,
    delete_service_account,
    disable_service_account,
    enable_service_account,
)
from portal.lib.api import Body, CursorList, JsonResponse, PageInput, cut, query_of
from portal.lib.openapi import described


class NewServiceAccount(Body):
    name = serializers.CharField(max_length=80)
    description = serializers.CharField(max_length=LONGEST_DESCRIPTION, default="", allow_blank=True)
    project = serializers.CharField(required=False)
    scopes = GivenScopes()


class ServiceAccountList(KeyAPIView):
    """The service accounts of the organization."""

    scope = Scope.KEYS_WRITE

    @described(CursorList[ServiceAccountView], query=PageInput)
    def get(self, request: Request) -> HttpResponse:
        accounts = ServiceAccount.objects.owned_by(self.request.organization).present().select_related("project")
        page = cut(accounts, query_of(request))
        return JsonResponse(page.of([service_account_view(account) for account in page.objects]))

    @described(ServiceAccountView, status=201, body=NewServiceAccount, text="Make a service account.")
    @idempotent
    def post(self, request: Request) -> HttpResponse:
        given = NewServiceAccount(data=request.data)
        given.is_valid(raise_exception=True)
        account = create_service_account(
            project=project_of(self, given.validated_data.get("project")),
            name=given.validated_data["name"],
            description=given.validated_data["description"],
            scopes=sorted(Scope(scope) for scope in given.validated_data["scopes"]),
            created_by=None,
            now=timezone.now(),
        )
        return JsonResponse(service_account_view(account), status=201)


class ServiceAccountDetail(KeyAPIView):
    """One service account."""

    scope = Scope.KEYS_WRITE

    @described(ServiceAccountView)
    def get(self, request: Request, public_id: str) -> HttpResponse:
        return JsonResponse(service_account_view(_account_of(self, public_id)))

    @described(ServiceAccountView, text="Delete a service account; its keys are revoked.")
    def delete(self, request: Request, public_id: str) -> HttpResponse:
        account = delete_service_account(account=_account_of(self, public_id), now=timezone.now())
        return JsonResponse(service_account_view(account))


class ServiceAccountDisabling(KeyAPIView):
    """Refuse the keys of a service account until it is enabled again."""

    scope = Scope.KEYS_WRITE
    open_while_stopped = frozenset({"POST"})

    @described(ServiceAccountView)
    def post(self, request: Request, public_id: str) -> HttpResponse:
        account = disable_service_account(account=_account_of(self, public_id), now=timezone.now())
        return JsonResponse(service_account_view(account))


class ServiceAccountEnabling(KeyAPIView):
    """Let the keys of a disabled service account work again."""

    scope = Scope.KEYS_WRITE

    @described(ServiceAccountView)
    def post(self, request: Request, public_id: str) -> HttpResponse:
        account = _account_of(self, public_id)
        if set(account.scopes) - set(CUSTOMER_SCOPES):
            # What a key may not give, it may not give back either.
            raise PermissionDenied("Only a person enables a service account that may do this much.")
        return JsonResponse(service_account_view(enable_service_account(account=account, now=timezone.now())))


def _account_of(view: KeyAPIView, public_id: str) -> ServiceAccount:
    accounts = ServiceAccount.objects.owned_by(view.request.organization).present()
    return get_object_or_404(accounts.select_related("project"), public_id=public_id)
