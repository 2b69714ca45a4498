"""Addresses of this app: the public price list, for people and programs."""

from django.urls import URLPattern, URLResolver, path

from catalog import api, views

app_name = "catalog"
urlpatterns: list[URLPattern | URLResolver] = [
    path("models/", views.model_list, name="model-list"),
    path("models/<str:name>/", views.model_detail, name="model-detail"),
    path("pricing/", views.pricing, name="pricing"),
    path("pricing/history/<str:sku>/", views.price_history, name="price-history"),
    path("pricing/rate-card.json", views.rate_card, name="rate-card"),
    path("llms.txt", views.llms_txt, name="llms-txt"),
    path("api/v1/models", api.ModelListView.as_view(), name="api-model-list"),
    path("api/v1/models/<str:name>", api.ModelDetailView.as_view(), name="api-model-detail"),
    path("api/v1/prices", api.PriceListView.as_view(), name="api-price-list"),
    path("api/v1/prices/<str:sku>", api.PriceHistoryView.as_view(), name="api-price-history"),
]
