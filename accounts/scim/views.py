"""The endpoints under /scim/v2. A resource that is another organization's is as good as missing."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, ClassVar

from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404
from django.utils import timezone
from rest_framework.request import Request
from scim2_models import Context, Meta, PatchOp, PayloadTooLargeException, Resource, ResourceType, Schema

from accounts.models import DirectoryGroup, DirectoryPerson
from accounts.scim.protocol import DirectoryAPIView, answer, body_in
from accounts.scim.queries import Listing, chosen, in_address, listed
from accounts.scim.resources import (
    PROVIDER,
    ScimGroup,
    ScimUser,
    address_of,
    bare_group_of,
    group_given,
    group_of,
    group_without_members,
    person_of,
    user_of,
)
from accounts.services.directory_groups import GroupGiven, add_group, change_group, remove_group
from accounts.services.directory_people import PersonGiven, add_person, change_person, remove_person

# Each costs a look at every member of a group.
MAXIMUM_OPERATIONS = 100

# Attribute -> how the database compares it; those not named here are compared after reading.
PERSON_COLUMNS = {
    "id": "public_id",
    "username": "user_name__iexact",
    "externalid": "external_id",
    "emails": "email__iexact",
    "emails.value": "email__iexact",
    "displayname": "display_name__iexact",
}
GROUP_COLUMNS = {
    "id": "public_id",
    "externalid": "external_id",
    "displayname": "display_name__iexact",
    "members": "members__person__public_id",
    "members.value": "members__person__public_id",
}


def _people(view: DirectoryAPIView) -> Any:
    people = DirectoryPerson.objects.owned_by(view.request.organization).select_related("membership")
    return people.prefetch_related("groups__group")


def _groups(view: DirectoryAPIView) -> Any:
    return DirectoryGroup.objects.owned_by(view.request.organization).prefetch_related("members__person")


def _shown(
    view: DirectoryAPIView, resource: Resource[Any], context: Context, *, status: int = HTTPStatus.OK
) -> HttpResponse:
    parameters = chosen(type(resource), view.request.query_params)
    payload = resource.model_dump(scim_ctx=context, response_parameters=parameters)
    location = resource.meta.location if resource.meta and status == HTTPStatus.CREATED else ""
    return answer(payload, status=status, location=location or "")


def _patch_in(request: Request, model: type[Resource[Any]]) -> PatchOp[Any]:
    body = body_in(request)
    operations = next((value for name, value in body.items() if name.lower() == "operations"), None)
    if isinstance(operations, list):
        if len(operations) > MAXIMUM_OPERATIONS:
            raise PayloadTooLargeException(detail=f"A patch has at most {MAXIMUM_OPERATIONS} operations: send several.")
        for operation in operations:
            _select_by_value_alone(operation)
    return PatchOp[model].model_validate(body, scim_ctx=Context.RESOURCE_PATCH_REQUEST)  # type: ignore[valid-type]


def _select_by_value_alone(operation: Any) -> None:
    """Let a removal that carries what to remove mean it by `value`: beside it some send a `$ref` of null, or a name."""
    if not isinstance(operation, dict) or str(operation.get("op")).lower() != "remove":
        return
    selected = operation.get("value")
    if isinstance(selected, list) and all(isinstance(one, dict) and "value" in one for one in selected):
        operation["value"] = [{"value": one["value"]} for one in selected]


def _user_listing(view: DirectoryAPIView) -> Listing[DirectoryPerson]:
    return Listing(ScimUser, _people(view).in_order(), PERSON_COLUMNS, user_of)


def _group_listing(view: DirectoryAPIView, given: Mapping[str, Any]) -> Listing[DirectoryGroup]:
    """Return groups with their members, thousands of them, only where the answer or its filter is about them."""
    excluded = given.get("excludedAttributes") or ""
    names = excluded.split(",") if isinstance(excluded, str) else excluded
    is_without = isinstance(names, list) and any(str(name).strip().lower() == "members" for name in names)
    if is_without and "member" not in str(given.get("filter", "")).lower():
        groups = DirectoryGroup.objects.owned_by(view.request.organization)
        return Listing(ScimGroup, groups.in_order(), GROUP_COLUMNS, group_without_members)
    return Listing(ScimGroup, _groups(view).in_order(), GROUP_COLUMNS, group_of)


class UserSearch(DirectoryAPIView):
    """What a list's address would ask, for what should be in no address."""

    def post(self, request: Request) -> HttpResponse:
        return answer(listed(_user_listing(self), body_in(request)))


class GroupSearch(DirectoryAPIView):
    """The same for groups."""

    def post(self, request: Request) -> HttpResponse:
        given = body_in(request)
        return answer(listed(_group_listing(self, given), given))


class UserList(DirectoryAPIView):
    def get(self, request: Request) -> HttpResponse:
        return answer(listed(_user_listing(self), in_address(request.query_params)))

    def post(self, request: Request) -> HttpResponse:
        user = ScimUser.model_validate(body_in(request), scim_ctx=Context.RESOURCE_CREATION_REQUEST)
        given = person_of(user, was_active=True)
        person = add_person(organization=self.request.organization, given=given, now=timezone.now())
        return _shown(self, user_of(person), Context.RESOURCE_CREATION_RESPONSE, status=HTTPStatus.CREATED)


class UserDetail(DirectoryAPIView):
    def get(self, request: Request, public_id: str) -> HttpResponse:
        return self._answer(public_id, Context.RESOURCE_QUERY_RESPONSE)

    def put(self, request: Request, public_id: str) -> HttpResponse:
        get_object_or_404(_people(self), public_id=public_id)
        user = ScimUser.model_validate(body_in(request), scim_ctx=Context.RESOURCE_REPLACEMENT_REQUEST)

        def change(person: DirectoryPerson) -> PersonGiven:
            return person_of(user, was_active=person.is_active)

        organization = self.request.organization
        change_person(organization=organization, public_id=public_id, change=change, now=timezone.now())
        return self._answer(public_id, Context.RESOURCE_REPLACEMENT_RESPONSE)

    def patch(self, request: Request, public_id: str) -> HttpResponse:
        get_object_or_404(_people(self), public_id=public_id)
        patch = _patch_in(request, ScimUser)

        def change(person: DirectoryPerson) -> PersonGiven:
            user = user_of(person)
            patch.patch(user)
            return person_of(user, was_active=person.is_active)

        organization = self.request.organization
        change_person(organization=organization, public_id=public_id, change=change, now=timezone.now())
        return self._answer(public_id, Context.RESOURCE_PATCH_RESPONSE)

    def delete(self, request: Request, public_id: str) -> HttpResponse:
        remove_person(organization=self.request.organization, public_id=public_id, now=timezone.now())
        return HttpResponse(status=HTTPStatus.NO_CONTENT)

    def _answer(self, public_id: str, context: Context) -> HttpResponse:
        return _shown(self, user_of(get_object_or_404(_people(self), public_id=public_id)), context)


class GroupList(DirectoryAPIView):
    def get(self, request: Request) -> HttpResponse:
        given = in_address(request.query_params)
        return answer(listed(_group_listing(self, given), given))

    def post(self, request: Request) -> HttpResponse:
        group = ScimGroup.model_validate(body_in(request), scim_ctx=Context.RESOURCE_CREATION_REQUEST)
        added = add_group(organization=self.request.organization, given=group_given(group), now=timezone.now())
        with_members = _groups(self).get(public_id=added.public_id)
        return _shown(self, group_of(with_members), Context.RESOURCE_CREATION_RESPONSE, status=HTTPStatus.CREATED)


class GroupDetail(DirectoryAPIView):
    def get(self, request: Request, public_id: str) -> HttpResponse:
        return self._answer(public_id, Context.RESOURCE_QUERY_RESPONSE)

    def put(self, request: Request, public_id: str) -> HttpResponse:
        get_object_or_404(DirectoryGroup.objects.owned_by(self.request.organization), public_id=public_id)
        given = group_given(ScimGroup.model_validate(body_in(request), scim_ctx=Context.RESOURCE_REPLACEMENT_REQUEST))
        organization = self.request.organization
        change_group(organization=organization, public_id=public_id, change=lambda _group: given, now=timezone.now())
        return self._answer(public_id, Context.RESOURCE_REPLACEMENT_RESPONSE)

    def patch(self, request: Request, public_id: str) -> HttpResponse:
        get_object_or_404(DirectoryGroup.objects.owned_by(self.request.organization), public_id=public_id)
        patch = _patch_in(request, ScimGroup)

        def change(row: DirectoryGroup) -> GroupGiven:
            group = bare_group_of(row)
            patch.patch(group)
            return group_given(group)

        organization = self.request.organization
        change_group(organization=organization, public_id=public_id, change=change, now=timezone.now())
        return self._answer(public_id, Context.RESOURCE_PATCH_RESPONSE)

    def delete(self, request: Request, public_id: str) -> HttpResponse:
        remove_group(organization=self.request.organization, public_id=public_id, now=timezone.now())
        return HttpResponse(status=HTTPStatus.NO_CONTENT)

    def _answer(self, public_id: str, context: Context) -> HttpResponse:
        return _shown(self, group_of(get_object_or_404(_groups(self), public_id=public_id)), context)


# --- What this service is ------------------------------------------------------------------------


class Description(DirectoryAPIView):
    """A list of what the provider says of itself; SCIM has no filter on these."""

    kind: ClassVar[str]
    resource_type: ClassVar[str]
    found: ClassVar[tuple[Resource[Any], ...]]

    def get(self, request: Request, name: str | None = None) -> HttpResponse:
        described = [self._described(one) for one in self.found]
        if name is None:
            return answer(
                {
                    "schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"],
                    "totalResults": len(described),
                    "startIndex": 1,
                    "itemsPerPage": len(described),
                    "Resources": described,
                }
            )
        one = next((one for one in described if one["id"] == name), None)
        if one is None:
            raise Http404
        return answer(one)

    def _described(self, one: Resource[Any]) -> dict[str, Any]:
        location = address_of(self.kind, str(one.id))
        described = one.model_copy(update={"meta": Meta(resource_type=self.resource_type, location=location)})
        payload: dict[str, Any] = described.model_dump(scim_ctx=Context.RESOURCE_QUERY_RESPONSE)
        return payload


class Schemas(Description):
    kind, resource_type, found = "Schemas", Schema.__name__, PROVIDER.schemas


class ResourceTypes(Description):
    kind, resource_type, found = "ResourceTypes", ResourceType.__name__, PROVIDER.resource_types


class ProviderConfig(DirectoryAPIView):
    def get(self, request: Request) -> HttpResponse:
        kind = "ServiceProviderConfig"
        config = PROVIDER.config
        if config is None:
            raise Http404
        meta = Meta(resource_type=kind, location=address_of(kind))
        shown = config.model_copy(update={"meta": meta})
        return answer(shown.model_dump(scim_ctx=Context.RESOURCE_QUERY_RESPONSE))


class NoSuchEndpoint(DirectoryAPIView):
    """Whatever else is asked for: refused in the words of the protocol."""

    def get(self, request: Request, rest: str) -> HttpResponse:
        raise Http404

    post = put = patch = delete = get
