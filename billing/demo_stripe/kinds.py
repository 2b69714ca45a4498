"""The kinds of objects that the double keeps: the class of Stripe's library for each, and how its ids begin."""

from dataclasses import dataclass

from billing.demo_stripe.spec.source import ClassSource, class_named


@dataclass(frozen=True, slots=True)
class Kind:
    module: str
    name: str
    prefix: str

    @property
    def source(self) -> ClassSource:
        return class_named(self.module, self.name)


KINDS = {
    "balance_transaction": Kind("stripe._balance_transaction", "BalanceTransaction", "txn"),
    "billing_portal.configuration": Kind("stripe.billing_portal._configuration", "Configuration", "bpc"),
    "billing_portal.session": Kind("stripe.billing_portal._session", "Session", "bps"),
    "charge": Kind("stripe._charge", "Charge", "ch"),
    "checkout.session": Kind("stripe.checkout._session", "Session", "cs_test"),
    "customer": Kind("stripe._customer", "Customer", "cus"),
    "customer_balance_transaction": Kind("stripe._customer_balance_transaction", "CustomerBalanceTransaction", "cbtxn"),
    "dispute": Kind("stripe._dispute", "Dispute", "du"),
    "event": Kind("stripe._event", "Event", "evt"),
    "item": Kind("stripe._line_item", "LineItem", "li"),
    "payment_intent": Kind("stripe._payment_intent", "PaymentIntent", "pi"),
    "payment_method": Kind("stripe._payment_method", "PaymentMethod", "pm"),
    "payout": Kind("stripe._payout", "Payout", "po"),
    "price": Kind("stripe._price", "Price", "price"),
    "product": Kind("stripe._product", "Product", "prod"),
    "radar.early_fraud_warning": Kind("stripe.radar._early_fraud_warning", "EarlyFraudWarning", "issfr"),
    "refund": Kind("stripe._refund", "Refund", "re"),
    "setup_intent": Kind("stripe._setup_intent", "SetupIntent", "seti"),
    "tax.calculation": Kind("stripe.tax._calculation", "Calculation", "taxcalc"),
    "tax.calculation_line_item": Kind("stripe.tax._calculation_line_item", "CalculationLineItem", "tax_li"),
    "tax_id": Kind("stripe._tax_id", "TaxId", "txi"),
    "tax_rate": Kind("stripe._tax_rate", "TaxRate", "txr"),
    "webhook_endpoint": Kind("stripe._webhook_endpoint", "WebhookEndpoint", "we"),
}
