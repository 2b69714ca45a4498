"""The REST API of receipts: /api/v1/receipts/{request_id}."""

from django.http import HttpResponse
from django.shortcuts import get_object_or_404
from rest_framework.request import Request

from accounts.access import KeyAPIView
from accounts.models import Scope
from inference.models import Receipt
from inference.selectors import ReceiptView, receipt_view
from portal.lib.api import JsonResponse
from portal.lib.openapi import described


class ReceiptDetail(KeyAPIView):
    """What a request came to, by the x-request-id of its answer."""

    scope = Scope.USAGE_READ

    @described(ReceiptView)
    def get(self, request: Request, request_id: str) -> HttpResponse:
        receipts = Receipt.objects.owned_by(self.request.organization).with_names()
        return JsonResponse(receipt_view(get_object_or_404(receipts, request_id=request_id)))
