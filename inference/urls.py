"""Addresses of this app. Customer pages start with o/<slug:organization>/.

/v1/ and o/<organization>/stream/ are the gateway's and never reach Django (inference/gateway/app.py).
"""

from django.urls import URLPattern, URLResolver, path

from inference import api, views

app_name = "inference"
urlpatterns: list[URLPattern | URLResolver] = [
    path("o/<slug:organization>/requests/", views.receipt_list, name="receipt-list"),
    path("o/<slug:organization>/requests/<str:request_id>/", views.receipt_detail, name="receipt-detail"),
    path("api/v1/receipts/<str:request_id>", api.ReceiptDetail.as_view(), name="api-receipt-detail"),
]
