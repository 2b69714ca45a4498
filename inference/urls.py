"""Addresses of this app. Customer pages start with o/<slug:organization>/.

/v1/ and o/<organization>/stream/ are the gateway's and never reach Django (inference/gateway/app.py).
"""

from django.urls import URLPattern, URLResolver, path

from inference import api, views

app_name = "inference"
urlpatterns: list[URLPattern | URLResolver] = [
    path("o/<slug:organization>/requests/", views.receipt_list, name="receipt-list"),
    path("o/<slug:organization>/requests/<str:request_id>/", views.receipt_detail, name="receipt-detail"),
    path("o/<slug:organization>/projects/<str:public_id>/region/", views.project_region, name="project-region"),
    path("api/v1/receipts/<str:request_id>", api.ReceiptDetail.as_view(), name="api-receipt-detail"),
    path("api/operator/v1/deployments", api.OperatorDeploymentList.as_view(), name="operator-deployments"),
    path(
        "api/operator/v1/deployments/<str:public_id>/offer",
        api.OperatorDeploymentOffer.as_view(),
        name="operator-deployment-offer",
    ),
]
