"""Instances and SSH keys for programs, in the shape of the Lambda Cloud API (contracts 2) with additions of ours."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.http import HttpResponse
from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request

from accounts.access import KeyAPIView
from accounts.models import Project, Scope
from billing.selectors import price_source
from catalog.models import Image, InstanceType, LeaseClass, Region
from catalog.selectors import InstanceTypeRow, instance_type_rows
from compute import selectors
from compute.models import Instance, SshKey
from compute.reconcile import State
from compute.services.instances import find_owned, lock_owned, restart_instance, terminate_instance
from compute.services.launching import (
    LONGEST_LIFE,
    MAXIMUM_QUANTITY,
    LaunchRequest,
    UnableToLaunch,
    launch_instances,
)
from portal.lib.api import Body, JsonResponse, lambda_response
from portal.lib.openapi import described

# Ours -> the words that existing tools know.
STATUS = {
    State.QUEUED: "booting",
    State.PROVISIONING: "booting",
    State.BOOTING: "booting",
    State.ACTIVE: "active",
    State.UNHEALTHY: "unhealthy",
    State.STOPPING: "unhealthy",
    State.STOPPED: "unhealthy",
    State.PREEMPTED: "preempted",
    State.TERMINATING: "terminating",
    State.TERMINATED: "terminated",
    State.FAILED: "terminated",
}


@dataclass(frozen=True, slots=True)
class Data[Value]:
    data: Value


@dataclass(frozen=True, slots=True)
class RegionOutput:
    name: str
    description: str


@dataclass(frozen=True, slots=True)
class Specs:
    vcpus: int
    memory_gib: int
    storage_gib: int
    gpus: int


@dataclass(frozen=True, slots=True)
class InstanceTypeOutput:
    name: str
    description: str
    gpu_description: str
    price_cents_per_hour: int
    specs: Specs


@dataclass(frozen=True, slots=True)
class InstanceTypeAndRegions:
    instance_type: InstanceTypeOutput
    regions_with_capacity_available: list[RegionOutput]


@dataclass(frozen=True, slots=True)
class ActionOutput:
    available: bool


@dataclass(frozen=True, slots=True)
class InstanceOutput:
    id: str
    name: str
    ip: str | None
    private_ip: str | None
    status: str
    state: str
    ssh_key_names: list[str]
    file_system_names: list[str]
    region: RegionOutput
    instance_type: InstanceTypeOutput | None
    hostname: str | None
    ssh_port: int | None
    is_reserved: bool
    lease_class: str
    created_at: datetime
    usable_at: datetime | None
    expires_at: datetime | None
    notice_seconds: int
    project: str
    actions: Mapping[str, ActionOutput]


@dataclass(frozen=True, slots=True)
class ImageOutput:
    id: str
    name: str
    family: str
    version: str
    description: str


class LambdaView(KeyAPIView):
    """A view whose errors have the Lambda shape."""

    errors = "lambda"

    def get_exception_handler(self) -> Callable[..., Any]:
        return lambda_response


class InstanceTypeList(LambdaView):
    """What can be launched, where there is room for it, by name."""

    scope = Scope.INSTANCES_READ

    @described(Data[dict[str, InstanceTypeAndRegions]])
    def get(self, request: Request) -> HttpResponse:
        stock = selectors.stock_by_type()
        found = {
            row.name: InstanceTypeAndRegions(
                _type_output(row),
                [RegionOutput(s.region, s.region_description) for s in stock.get(row.name, ()) if s.is_free],
            )
            for row in _rows(self)
        }
        return JsonResponse(Data(found))


class ImageInput(Body):
    id = serializers.CharField(required=False)
    family = serializers.CharField(required=False)


class LaunchInput(Body):
    region_name = serializers.CharField()
    instance_type_name = serializers.CharField()
    ssh_key_names = serializers.ListField(child=serializers.CharField(), min_length=1)
    name = serializers.CharField(required=False, allow_null=True, allow_blank=True)
    image = ImageInput(required=False, allow_null=True)
    user_data = serializers.CharField(required=False, allow_null=True, allow_blank=True, trim_whitespace=False)
    quantity = serializers.IntegerField(required=False, min_value=1, max_value=MAXIMUM_QUANTITY)
    lease_class = serializers.ChoiceField(choices=LeaseClass.choices, required=False)
    expires_in_seconds = serializers.IntegerField(
        required=False, allow_null=True, min_value=60, max_value=int(LONGEST_LIFE.total_seconds())
    )


@dataclass(frozen=True, slots=True)
class Launched:
    instance_ids: list[str]


@dataclass(frozen=True, slots=True)
class Terminated:
    terminated_instances: list[InstanceOutput]


@dataclass(frozen=True, slots=True)
class Restarted:
    restarted_instances: list[InstanceOutput]


class Launch(LambdaView):
    """Launch instances: all that were asked for, or none."""

    scope = Scope.INSTANCES_WRITE

    @described(Data[Launched], body=LaunchInput)
    def post(self, request: Request) -> HttpResponse:
        body = LaunchInput(data=request.data)
        body.is_valid(raise_exception=True)
        now = timezone.now()
        launched = launch_instances(request=self._request(body.validated_data, now), now=now)
        answer = JsonResponse(Data(Launched([one.public_id for one in launched.instances])))
        if launched.is_replay:
            answer["Idempotent-Replayed"] = "true"
        return answer

    def _request(self, values: Mapping[str, Any], now: datetime) -> LaunchRequest:
        project: Project = self.request.api_key.project
        keys = {key.name: key for key in SshKey.objects.owned_by(self.request.organization)}
        missing = [name for name in values["ssh_key_names"] if name not in keys]
        if missing:
            raise UnableToLaunch("ssh_keys", f"There is no SSH key named {missing[0]}.")
        shape = InstanceType.objects.filter(name=values["instance_type_name"]).first()
        if shape is None:
            raise UnableToLaunch("instance_type", f"There is no instance type {values['instance_type_name']}.")
        region = Region.objects.filter(name=values["region_name"]).first()
        if region is None:
            raise UnableToLaunch("region", f"There is no region {values['region_name']}.")
        seconds = values.get("expires_in_seconds")
        return LaunchRequest(
            project=project,
            instance_type=shape,
            region=region,
            image=_image_of(values.get("image") or {}, shape),
            lease_class=LeaseClass(values.get("lease_class", LeaseClass.ON_DEMAND)),
            ssh_keys=[keys[name] for name in values["ssh_key_names"]],
            launched_with=self.request.api_key,
            name=values.get("name") or "",
            user_data=values.get("user_data") or "",
            expires_at=now + timedelta(seconds=seconds) if seconds else None,
            quantity=values.get("quantity", 1),
            idempotency_key=self.request.headers.get("Idempotency-Key"),
        )


class InstanceIds(Body):
    instance_ids = serializers.ListField(child=serializers.CharField(), min_length=1, max_length=100)


class Terminate(LambdaView):
    """Terminate instances: all of them, or none."""

    scope = Scope.INSTANCES_WRITE
    open_while_stopped = frozenset({"POST"})

    @described(Data[Terminated], body=InstanceIds)
    def post(self, request: Request) -> HttpResponse:
        now = timezone.now()
        instances = self._instances(request)
        for instance in instances:
            terminate_instance(instance=instance, now=now)
        return JsonResponse(Data(Terminated(_outputs(self, [one.public_id for one in instances]))))

    def _instances(self, request: Request) -> list[Instance]:
        body = InstanceIds(data=request.data)
        body.is_valid(raise_exception=True)
        return lock_owned(self.request.organization, body.validated_data["instance_ids"])


class Restart(Terminate):
    """Restart instances: all of them, or none."""

    open_while_stopped = frozenset()

    @described(Data[Restarted], body=InstanceIds)
    def post(self, request: Request) -> HttpResponse:
        now = timezone.now()
        instances = self._instances(request)
        for instance in instances:
            restart_instance(instance=instance, now=now)
        return JsonResponse(Data(Restarted(_outputs(self, [one.public_id for one in instances]))))


class InstanceList(LambdaView):
    """The instances of the organization."""

    scope = Scope.INSTANCES_READ

    @described(Data[list[InstanceOutput]])
    def get(self, request: Request) -> HttpResponse:
        return JsonResponse(Data(_outputs(self, None)))


class InstanceDetail(LambdaView):
    """One instance."""

    scope = Scope.INSTANCES_READ

    @described(Data[InstanceOutput])
    def get(self, request: Request, public_id: str) -> HttpResponse:
        find_owned(self.request.organization, [public_id])
        return JsonResponse(Data(_outputs(self, [public_id])[0]))


class ImageList(LambdaView):
    """What an instance can boot."""

    scope = Scope.INSTANCES_READ

    @described(Data[list[ImageOutput]])
    def get(self, request: Request) -> HttpResponse:
        images = Image.objects.filter(is_listed=True).order_by("name")
        return JsonResponse(Data([ImageOutput(i.name, i.name, i.family, i.version, i.description) for i in images]))


def _image_of(wanted: Mapping[str, Any], shape: InstanceType) -> Image:
    images = Image.objects.filter(is_listed=True, kinds__contains=[shape.kind]).order_by("-version", "name")
    if name := wanted.get("id"):
        images = images.filter(name=name)
    elif family := wanted.get("family"):
        images = images.filter(family=family)
    image = images.first()
    if image is None:
        raise UnableToLaunch("image", "There is no such image for this instance type.")
    return image


def _outputs(view: LambdaView, public_ids: list[str] | None) -> list[InstanceOutput]:
    types = {row.name: _type_output(row) for row in _rows(view)}
    mine = selectors.instances_for(view.request.organization)
    found = [one for one in mine if public_ids is None or one.public_id in public_ids]
    return [_output(one, types) for one in found]


def _rows(view: LambdaView) -> list[InstanceTypeRow]:
    """Return what is on the list, at what the organization of the key pays."""
    return instance_type_rows(timezone.now(), price_source(view.request.organization.pk))


def _output(instance: Instance, types: Mapping[str, InstanceTypeOutput]) -> InstanceOutput:
    return InstanceOutput(
        id=instance.public_id,
        name=instance.name,
        ip=instance.host or None,
        private_ip=None,
        status=STATUS[State(instance.state)],
        state=instance.state,
        ssh_key_names=instance.ssh_key_names,
        file_system_names=[],
        region=RegionOutput(instance.region.name, instance.region.description),
        instance_type=types.get(instance.instance_type.name),
        hostname=instance.name,
        ssh_port=instance.port,
        is_reserved=instance.lease_class == LeaseClass.RESERVED,
        lease_class=instance.lease_class,
        created_at=instance.created_at,
        usable_at=instance.usable_at,
        expires_at=instance.expires_at,
        notice_seconds=instance.notice_seconds,
        project=instance.project.public_id,
        actions={
            "restart": ActionOutput(instance.can_restart),
            "terminate": ActionOutput(instance.can_terminate),
        },
    )


def _type_output(row: InstanceTypeRow) -> InstanceTypeOutput:
    price = row.price_of(LeaseClass.ON_DEMAND) or row.cheapest
    specs = Specs(row.vcpus, row.memory_gib, row.storage_gib, row.accelerator_count)
    gpu = f"{row.accelerator} ({row.accelerator_memory_gib} GiB)" if row.accelerator else "N/A"
    return InstanceTypeOutput(row.name, row.description, gpu, price.cents_per_hour, specs)
