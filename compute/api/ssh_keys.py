"""SSH keys for programs, in the shape of the Lambda Cloud API (contracts 2)."""

from dataclasses import dataclass

from django.http import HttpResponse
from django.shortcuts import get_object_or_404
from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request

from accounts.models import Scope
from compute.api.instances import Data, LambdaView
from compute.models import SshKey
from compute.services.ssh_keys import add_ssh_key, delete_ssh_key, generate_ssh_key
from portal.lib.api import Body, JsonResponse
from portal.lib.openapi import described


@dataclass(frozen=True, slots=True)
class SshKeyOutput:
    id: str
    name: str
    public_key: str
    fingerprint: str
    private_key: str | None = None


class SshKeyInput(Body):
    name = serializers.CharField(max_length=80)
    public_key = serializers.CharField(required=False, trim_whitespace=False)


class SshKeyList(LambdaView):
    """The SSH keys of the organization."""

    scope = Scope.INSTANCES_WRITE

    @described(Data[list[SshKeyOutput]])
    def get(self, request: Request) -> HttpResponse:
        keys = SshKey.objects.owned_by(self.request.organization).by_name()
        return JsonResponse(Data([_key_output(key) for key in keys]))

    @described(
        Data[SshKeyOutput],
        body=SshKeyInput,
        text="Add an SSH key; without a public key a pair is made, and its private half is in this answer only.",
    )
    def post(self, request: Request) -> HttpResponse:
        body = SshKeyInput(data=request.data)
        body.is_valid(raise_exception=True)
        organization, now = self.request.organization, timezone.now()
        name, public_key = body.validated_data["name"], body.validated_data.get("public_key")
        if public_key is not None:
            ssh_key = add_ssh_key(organization=organization, name=name, public_key=public_key, created_by=None, now=now)
            return JsonResponse(Data(_key_output(ssh_key)))
        made = generate_ssh_key(organization=organization, name=name, created_by=None, now=now)
        return JsonResponse(Data(_key_output(made.ssh_key, made.private_key)))


@dataclass(frozen=True, slots=True)
class Nothing:
    """An empty object."""


class SshKeyDetail(LambdaView):
    """Delete an SSH key; instances that have it keep it."""

    scope = Scope.INSTANCES_WRITE

    @described(Data[Nothing])
    def delete(self, request: Request, public_id: str) -> HttpResponse:
        mine = SshKey.objects.owned_by(self.request.organization)
        delete_ssh_key(ssh_key=get_object_or_404(mine, public_id=public_id), now=timezone.now())
        return JsonResponse(Data(Nothing()))


def _key_output(ssh_key: SshKey, private_key: str | None = None) -> SshKeyOutput:
    return SshKeyOutput(ssh_key.public_id, ssh_key.name, ssh_key.public_key, ssh_key.fingerprint, private_key)
