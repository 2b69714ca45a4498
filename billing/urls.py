"""Addresses of this app. Customer pages start with o/<slug:organization>/."""

from django.urls import URLPattern, URLResolver, path, register_converter
from django.urls.converters import StringConverter

from billing import webhooks
from billing.api import caps as caps_api
from billing.api import cost_tags as cost_tags_api
from billing.api import invoices as invoices_api
from billing.api import key as key_api
from billing.api import operator
from billing.api import spend as spend_api
from billing.api import usage as usage_api
from billing.models import SpendCap
from billing.views import anomalies, caps, cards, cost_tags, credit, details, focus, invoices, spend

app_name = "billing"


class CapPeriodConverter(StringConverter):
    words = SpendCap.Period.values
    regex = "|".join(words)


register_converter(CapPeriodConverter, "cap_period")
urlpatterns: list[URLPattern | URLResolver] = [
    path("o/<slug:organization>/spend/", spend.spend, name="spend"),
    path("o/<slug:organization>/spend/usage.csv", spend.usage_export, {"form": "csv"}, name="usage-csv"),
    path("o/<slug:organization>/spend/usage.jsonl", spend.usage_export, {"form": "jsonl"}, name="usage-jsonl"),
    path("o/<slug:organization>/spend/unusual-days/mails/", anomalies.anomaly_mails, name="anomaly-mails"),
    path("o/<slug:organization>/spend/cost-centers/", cost_tags.tag_list, name="tag-list"),
    path("o/<slug:organization>/spend/cost-centers/<str:public_id>/", cost_tags.project_tags, name="project-tags"),
    path("o/<slug:organization>/spend/focus.csv", focus.spend_focus, name="spend-focus"),
    path("o/<slug:organization>/billing-details/", details.billing_details, name="details"),
    path("o/<slug:organization>/caps/", caps.cap_list, name="cap-list"),
    path("o/<slug:organization>/caps/new/", caps.cap_create, name="cap-create"),
    path("o/<slug:organization>/caps/<str:public_id>/change/", caps.cap_change, name="cap-change"),
    path("o/<slug:organization>/caps/<str:public_id>/remove/", caps.cap_remove, name="cap-remove"),
    path("o/<slug:organization>/credit/", credit.credit, name="credit"),
    path("o/<slug:organization>/credit/add/", credit.top_up, name="top-up"),
    path("o/<slug:organization>/credit/owed/pay/", credit.debt_pay, name="debt-pay"),
    path("o/<slug:organization>/credit/payments/<str:public_id>/", credit.payment_detail, name="payment-detail"),
    path("o/<slug:organization>/credit/payments/<str:public_id>/pay/", credit.checkout, name="payment-checkout"),
    path("o/<slug:organization>/credit/payments/<str:public_id>/cancel/", credit.payment_cancel, name="payment-cancel"),
    path("o/<slug:organization>/credit/payments/<str:public_id>/refund/", credit.refund, name="payment-refund"),
    path("o/<slug:organization>/credit/cards/", cards.card_list, name="card-list"),
    path("o/<slug:organization>/credit/cards/add/", cards.card_add, name="card-add"),
    path("o/<slug:organization>/credit/cards/page/", cards.card_page, name="card-page"),
    path("o/<slug:organization>/credit/cards/portal/", cards.customer_portal, name="customer-portal"),
    path("o/<slug:organization>/credit/cards/<str:public_id>/default/", cards.card_default, name="card-default"),
    path("o/<slug:organization>/credit/cards/<str:public_id>/remove/", cards.card_remove, name="card-remove"),
    path("o/<slug:organization>/credit/payments/<str:public_id>/again/", credit.payment_again, name="payment-again"),
    path("o/<slug:organization>/credit/auto-reload/", cards.auto_reload, name="auto-reload"),
    path("webhooks/stripe", webhooks.stripe, name="stripe-webhook"),
    path("o/<slug:organization>/invoices/", invoices.invoice_list, name="invoice-list"),
    path("o/<slug:organization>/invoices/<str:public_id>/", invoices.invoice_detail, name="invoice-detail"),
    path("o/<slug:organization>/invoices/<str:public_id>/pay/", invoices.invoice_pay, name="invoice-pay"),
    path("o/<slug:organization>/invoices/<str:public_id>/invoice.pdf", invoices.invoice_pdf, name="invoice-pdf"),
    path(
        "o/<slug:organization>/invoices/<str:public_id>/invoice.jsonl", invoices.invoice_export, name="invoice-export"
    ),
    path("o/<slug:organization>/invoices/<str:public_id>/focus.csv", focus.invoice_focus, name="invoice-focus"),
    path("api/v1/key", key_api.KeyDetail.as_view(), name="api-key"),
    path("api/v1/usage", usage_api.UsageList.as_view(), name="api-usage"),
    path("api/v1/spend", spend_api.SpendReport.as_view(), name="api-spend"),
    path("verify_invoice.py", invoices.verifier, name="verify-invoice"),
    path("api/v1/invoices", invoices_api.InvoiceList.as_view(), name="api-invoice-list"),
    path("api/v1/keys/<str:public_id>/caps/<cap_period:period>", caps_api.KeyCapDetail.as_view(), name="api-key-cap"),
    path("api/v1/project-tags", cost_tags_api.ProjectTagsList.as_view(), name="api-project-tags"),
    path("api/v1/caps", caps_api.CapList.as_view(), name="api-cap-list"),
    path("api/operator/v1/usage", operator.UsageReportList.as_view(), name="operator-usage"),
    path("api/operator/v1/usage/<str:event_id>", operator.UsageFateDetail.as_view(), name="operator-usage-fate"),
]
