"""The REST API of keys: /api/v1/keys."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.shortcuts import get_object_or_404
from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request

from accounts.access import KeyAPIView, idempotent, is_former_secret
from accounts.api.projects import project_of
from accounts.api.scopes import GivenScopes
from accounts.models import ApiKey, Overlap, Scope, ServiceAccount
from accounts.selectors import KeyView, key_view
from accounts.services.api_keys import CUSTOMER_SCOPES, KeyLimits, change_key, issue_key, revoke_key
from accounts.services.key_rotation import rotate_key
from portal.lib.addresses import canonical_ranges
from portal.lib.api import Body, CursorList, JsonResponse, PageInput, cut, query_of
from portal.lib.model_names import canonical_names
from portal.lib.openapi import described


class Canonical(serializers.ListField):
    """A list of strings in the one form that is kept. read: raises ValueError with a sentence for the customer."""

    def __init__(self, *, read: Callable[[Iterable[str]], tuple[str, ...]], **kwargs: Any) -> None:
        super().__init__(child=serializers.CharField(max_length=200), **kwargs)
        self._read = read

    def to_internal_value(self, data: Any) -> Any:
        given = super().to_internal_value(data)
        try:
            return self._read(given)
        except ValueError as error:
            raise serializers.ValidationError(str(error)) from error


class NewKey(Body):
    name = serializers.CharField(max_length=80)
    project = serializers.CharField(required=False)
    service_account = serializers.CharField(required=False)
    scopes = GivenScopes()
    expires_at = serializers.DateTimeField(required=False)
    allowed_models = Canonical(read=canonical_names, default=())
    allowed_addresses = Canonical(read=canonical_ranges, default=())


class ChangedKey(Body):
    """What may change of a key; what is left out stays."""

    name = serializers.CharField(max_length=80, required=False)
    allowed_models = Canonical(read=canonical_names, required=False)
    allowed_addresses = Canonical(read=canonical_ranges, required=False)


class Rotation(Body):
    overlap_seconds = serializers.ChoiceField(choices=[overlap.value for overlap in Overlap], default=0)


@dataclass(frozen=True, slots=True)
class NewKeyView:
    """A new key with its secret, in this one answer."""

    key: KeyView
    secret: str


class KeyList(KeyAPIView):
    """The API keys of the organization."""

    scope = Scope.KEYS_WRITE

    @described(CursorList[KeyView], query=PageInput)
    def get(self, request: Request) -> HttpResponse:
        now = timezone.now()
        keys = ApiKey.objects.owned_by(self.request.organization).with_projects().with_former_secrets()
        page = cut(keys, query_of(request))
        return JsonResponse(page.of([key_view(key, now) for key in page.objects]))

    @described(NewKeyView, status=201, body=NewKey, text="Make a key; its secret is in this answer only.")
    @idempotent
    def post(self, request: Request) -> HttpResponse:
        given = NewKey(data=request.data)
        given.is_valid(raise_exception=True)
        now = timezone.now()
        account = self._service_account(given.validated_data.get("service_account"))
        asked = given.validated_data.get("project")
        issued = issue_key(
            project=account.project if account and asked is None else project_of(self, asked),
            name=given.validated_data["name"],
            scopes=sorted(Scope(scope) for scope in given.validated_data["scopes"]),
            created_by=None,
            now=now,
            expires_at=given.validated_data.get("expires_at"),
            limits=KeyLimits(given.validated_data["allowed_models"], given.validated_data["allowed_addresses"]),
            service_account=account,
        )
        return JsonResponse(NewKeyView(key_view(issued.api_key, now), issued.secret), status=201)

    def _service_account(self, public_id: str | None) -> ServiceAccount | None:
        if public_id is None:
            return None
        accounts = ServiceAccount.objects.owned_by(self.request.organization).present().select_related("project")
        account = accounts.filter(public_id=public_id).first()
        if account is None:
            raise serializers.ValidationError({"service_account": "There is no such service account."})
        return account


class KeyDetail(KeyAPIView):
    """One API key."""

    scope = Scope.KEYS_WRITE

    @described(KeyView)
    def get(self, request: Request, public_id: str) -> HttpResponse:
        return JsonResponse(key_view(_key_of(self, public_id), timezone.now()))

    @described(KeyView, body=ChangedKey, text="Rename a key or change what it is narrowed to.")
    def patch(self, request: Request, public_id: str) -> HttpResponse:
        key = _key_of(self, public_id)
        if set(key.scopes) - set(CUSTOMER_SCOPES):
            # A key that could widen itself or its like would not be limited.
            raise PermissionDenied("Only a person changes a key that may do what no key may give.")
        given = ChangedKey(data=request.data)
        given.is_valid(raise_exception=True)
        limits = KeyLimits(
            given.validated_data.get("allowed_models", key.allowed_models),
            given.validated_data.get("allowed_addresses", key.allowed_addresses),
        )
        now = timezone.now()
        name = given.validated_data.get("name", key.name)
        return self._shown(change_key(api_key=key, name=name, limits=limits, now=now), key, now)

    @described(KeyView, text="Revoke a key; it stays in the list.")
    def delete(self, request: Request, public_id: str) -> HttpResponse:
        now = timezone.now()
        key = _key_of(self, public_id)
        return self._shown(revoke_key(api_key=key, now=now), key, now)

    def _shown(self, changed: ApiKey, key: ApiKey, now: datetime) -> HttpResponse:
        changed.project, changed.service_account = key.project, key.service_account
        return JsonResponse(key_view(changed, now))


class KeyRotation(KeyAPIView):
    """A new secret for a key, in this one answer."""

    scope = Scope.KEYS_WRITE

    @described(NewKeyView, status=201, body=Rotation)
    @idempotent
    def post(self, request: Request, public_id: str) -> HttpResponse:
        key = _key_of(self, public_id)
        if set(key.scopes) - set(CUSTOMER_SCOPES) and key.pk != self.request.api_key.pk:
            # Or a stolen one would live on in another's new secret, or see what it may not.
            raise PermissionDenied("A key may rotate itself; one that may do what no key may give, a person rotates.")
        if key.pk == self.request.api_key.pk and is_former_secret(self.request):
            # It ends in a while, and who holds it would not.
            raise PermissionDenied("This secret was replaced already: rotate the key with its present one.")
        given = Rotation(data=request.data)
        given.is_valid(raise_exception=True)
        now = timezone.now()
        issued = rotate_key(api_key=key, overlap=Overlap(given.validated_data["overlap_seconds"]), now=now)
        issued.api_key.project, issued.api_key.service_account = key.project, key.service_account
        return JsonResponse(NewKeyView(key_view(issued.api_key, now), issued.secret), status=201)


def _key_of(view: KeyAPIView, public_id: str) -> ApiKey:
    keys = ApiKey.objects.owned_by(view.request.organization).with_projects().with_former_secrets()
    return get_object_or_404(keys, public_id=public_id)
