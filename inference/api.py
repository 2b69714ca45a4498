"""The REST API of receipts, /api/v1/receipts/{request_id}, and the operator's of deployments."""

from dataclasses import dataclass

from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404
from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request

from accounts.access import KeyAPIView
from accounts.api.operator import OperatorAPIView
from accounts.models import OperatorScope, Scope
from inference.models import Deployment, Receipt
from inference.selectors import DeploymentRow, ReceiptView, deployment_row, deployment_rows, receipt_view
from inference.services.offering import offer_deployment
from portal.lib.api import Body, JsonResponse
from portal.lib.openapi import described
from portal.lib.tenancy import as_platform


class ReceiptDetail(KeyAPIView):
    """What a request came to, by the x-request-id of its answer."""

    scope = Scope.USAGE_READ

    @described(ReceiptView)
    def get(self, request: Request, request_id: str) -> HttpResponse:
        receipts = Receipt.objects.owned_by(self.request.organization).with_names()
        return JsonResponse(receipt_view(get_object_or_404(receipts, request_id=request_id)))


@dataclass(frozen=True, slots=True)
class DeploymentList:
    data: list[DeploymentRow]


class OperatorDeploymentList(OperatorAPIView):
    """The servers that serve our models, and how much of each customers may have."""

    scope = OperatorScope.POOLS_READ

    @described(DeploymentList)
    def get(self, request: Request) -> HttpResponse:
        with as_platform():
            return JsonResponse(DeploymentList(deployment_rows()))


class Offer(Body):
    """percent: what customers may have of the deployment, from 0 (nothing new) to 100."""

    percent = serializers.IntegerField(min_value=0, max_value=100)


class OperatorDeploymentOffer(OperatorAPIView):
    """How much of a deployment customers may have: the owner's own work has the rest, within a second."""

    scope = OperatorScope.DEMAND_WRITE

    @described(DeploymentRow, body=Offer, text="Set it; what the deployment works on it finishes.")
    def put(self, request: Request, public_id: str) -> HttpResponse:
        given = Offer(data=request.data)
        given.is_valid(raise_exception=True)
        with as_platform():
            if "\0" in public_id or not Deployment.objects.filter(public_id=public_id).exists():
                raise Http404
            percent = given.validated_data["percent"]
            return JsonResponse(
                deployment_row(offer_deployment(public_id=public_id, percent=percent, now=timezone.now()))
            )
