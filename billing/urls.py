"""Addresses of this app. Customer pages start with o/<slug:organization>/."""

from django.urls import URLPattern, URLResolver, path

from billing import api, views

app_name = "billing"
urlpatterns: list[URLPattern | URLResolver] = [
    path("o/<slug:organization>/spend/", views.spend, name="spend"),
    path("o/<slug:organization>/spend/usage.csv", views.usage_export, {"form": "csv"}, name="usage-csv"),
    path("o/<slug:organization>/spend/usage.jsonl", views.usage_export, {"form": "jsonl"}, name="usage-jsonl"),
    path("api/v1/key", api.KeyDetail.as_view(), name="api-key"),
    path("api/v1/usage", api.UsageList.as_view(), name="api-usage"),
    path("api/v1/spend", api.SpendReport.as_view(), name="api-spend"),
    path("api/v1/caps", api.CapList.as_view(), name="api-cap-list"),
]
