# ruff: noqa: N815  # The fields are the columns of FOCUS, which names them so.
"""FOCUS 1.2: the one table of columns, and what is written into them. Rules: docs/how-to/read-costs-as-focus.md.

The fields of `FocusRow` are the columns of the file, in its order; their annotations say what may be in them. The file,
the table of the document and the test of every row are made from them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, NamedTuple, get_args, get_type_hints

from portal.lib.money import decimal_string, divide_half_even
from portal.lib.periods import Period

# Decimals of a quantity that does not end: seconds as hours.
DECIMALS = 18


class Kind(StrEnum):
    """What a cell is: a number, a text, an instant, or a JSON object of texts."""

    DECIMAL = "Decimal"
    STRING = "String"
    TIME = "Date/Time"
    TAGS = "Key-Value"


class Level(StrEnum):
    """What FOCUS says of a column; ours begin with x_."""

    MANDATORY = "Mandatory"
    CONDITIONAL = "Conditional"
    RECOMMENDED = "Recommended"
    OURS = "ours"


class ChargeKind(StrEnum):
    """What a row is, in our words (x_ChargeKind)."""

    USAGE = "usage"
    TIERS = "tiers"
    TRUE_UP = "true_up"
    ROUNDING = "rounding"
    CREDIT = "credit"
    HOUSE = "house"
    NOTE = "credit_note"
    TAX = "tax"

    @property
    def category(self) -> str:
        """Return the ChargeCategory."""
        return {"usage": "Usage", "credit": "Credit", "tax": "Tax"}.get(self.value, "Adjustment")


@dataclass(frozen=True, slots=True)
class Column:
    """What may be in a column. allowed: the only values, any where it is empty."""

    kind: Kind
    level: Level
    meaning: str
    allowed: frozenset[str] = frozenset()


class Service(NamedTuple):
    """What is sold, in the words of FOCUS."""

    name: str
    category: str
    subcategory: str


SERVICES = {
    "models": Service("Model APIs", "AI and Machine Learning", "Generative AI"),
    "instances": Service("Instances", "Compute", "Virtual Machines"),
    "storage": Service("Storage", "Storage", "Block Storage"),
}
# Of what belongs to no product: rounding and tax.
BILLING = Service("Billing", "Other", "Other (Other)")


def _words(*allowed: str) -> frozenset[str]:
    return frozenset(allowed)


def _all(position: int) -> frozenset[str]:
    return frozenset(service[position] for service in (*SERVICES.values(), BILLING))


@dataclass(frozen=True, slots=True, kw_only=True)
class FocusRow:
    """One charge as FOCUS writes it: exact decimals and instants as text, None for null."""

    BilledCost: Annotated[
        str, Column(Kind.DECIMAL, Level.MANDATORY, "What is due for it; of an invoice they sum to it")
    ]
    BillingAccountId: Annotated[str, Column(Kind.STRING, Level.MANDATORY, "The organization")]
    BillingAccountName: Annotated[str, Column(Kind.STRING, Level.MANDATORY, "Its name")]
    BillingCurrency: Annotated[str, Column(Kind.STRING, Level.MANDATORY, "Of every amount", _words("USD"))]
    BillingPeriodStart: Annotated[str, Column(Kind.TIME, Level.MANDATORY, "First of the UTC month that is billed")]
    BillingPeriodEnd: Annotated[str, Column(Kind.TIME, Level.MANDATORY, "First of the next month")]
    ChargeCategory: Annotated[
        str,
        Column(
            Kind.STRING,
            Level.MANDATORY,
            "Of what nature it is",
            frozenset(kind.category for kind in ChargeKind),
        ),
    ]
    ChargeClass: Annotated[
        str | None,
        Column(
            Kind.STRING, Level.MANDATORY, "What an earlier month than the billed one was charged", _words("Correction")
        ),
    ]
    ChargeDescription: Annotated[str, Column(Kind.STRING, Level.MANDATORY, "What it is, for people")]
    ChargeFrequency: Annotated[
        str, Column(Kind.STRING, Level.RECOMMENDED, "How often it comes", _words("Usage-Based", "One-Time"))
    ]
    ChargePeriodStart: Annotated[str, Column(Kind.TIME, Level.MANDATORY, "The UTC day of usage; else of the invoice")]
    ChargePeriodEnd: Annotated[str, Column(Kind.TIME, Level.MANDATORY, "Its end, not included")]
    CommitmentDiscountCategory: Annotated[
        str | None, Column(Kind.STRING, Level.CONDITIONAL, "Of a true-up", _words("Spend"))
    ]
    CommitmentDiscountId: Annotated[str | None, Column(Kind.STRING, Level.CONDITIONAL, "The contract of a true-up")]
    CommitmentDiscountName: Annotated[str | None, Column(Kind.STRING, Level.CONDITIONAL, "Its name")]
    CommitmentDiscountStatus: Annotated[
        str | None, Column(Kind.STRING, Level.CONDITIONAL, "Of a true-up", _words("Unused"))
    ]
    CommitmentDiscountType: Annotated[
        str | None, Column(Kind.STRING, Level.CONDITIONAL, "Of a true-up", _words("Contract commitment"))
    ]
    ConsumedQuantity: Annotated[str | None, Column(Kind.DECIMAL, Level.CONDITIONAL, "Usage as it was metered")]
    ConsumedUnit: Annotated[str | None, Column(Kind.STRING, Level.CONDITIONAL, "What the meter counts")]
    ContractedCost: Annotated[str, Column(Kind.DECIMAL, Level.MANDATORY, "At the agreed price; else BilledCost")]
    ContractedUnitPrice: Annotated[str | None, Column(Kind.DECIMAL, Level.CONDITIONAL, "The price that rated it")]
    EffectiveCost: Annotated[str, Column(Kind.DECIMAL, Level.MANDATORY, "As BilledCost")]
    InvoiceId: Annotated[
        str | None, Column(Kind.STRING, Level.RECOMMENDED, "Its number, or a credit note's; null: not billed yet")
    ]
    InvoiceIssuerName: Annotated[str, Column(Kind.STRING, Level.MANDATORY, "Who invoices")]
    ListCost: Annotated[str, Column(Kind.DECIMAL, Level.MANDATORY, "At the list price; else BilledCost")]
    ListUnitPrice: Annotated[str | None, Column(Kind.DECIMAL, Level.CONDITIONAL, "The list price of that hour")]
    PricingCategory: Annotated[
        str | None, Column(Kind.STRING, Level.CONDITIONAL, "Of usage, also at a contract's price", _words("Standard"))
    ]
    PricingQuantity: Annotated[str | None, Column(Kind.DECIMAL, Level.MANDATORY, "Usage in the unit of the price")]
    PricingUnit: Annotated[str | None, Column(Kind.STRING, Level.MANDATORY, "The unit of the price")]
    ProviderName: Annotated[str, Column(Kind.STRING, Level.MANDATORY, "Who provides it")]
    PublisherName: Annotated[str, Column(Kind.STRING, Level.MANDATORY, "Who makes it")]
    ServiceCategory: Annotated[str, Column(Kind.STRING, Level.MANDATORY, "Of the product", _all(1))]
    ServiceName: Annotated[str, Column(Kind.STRING, Level.MANDATORY, "The product", _all(0))]
    ServiceSubcategory: Annotated[str, Column(Kind.STRING, Level.RECOMMENDED, "Of the product", _all(2))]
    SkuId: Annotated[str | None, Column(Kind.STRING, Level.CONDITIONAL, "The SKU's code on the price list")]
    SkuMeter: Annotated[str | None, Column(Kind.STRING, Level.CONDITIONAL, "The meter's code")]
    SkuPriceId: Annotated[str | None, Column(Kind.STRING, Level.CONDITIONAL, "The version of the price")]
    SubAccountId: Annotated[str | None, Column(Kind.STRING, Level.CONDITIONAL, "The project")]
    SubAccountName: Annotated[str | None, Column(Kind.STRING, Level.CONDITIONAL, "Its name")]
    Tags: Annotated[str | None, Column(Kind.TAGS, Level.CONDITIONAL, "Of the project, on that day")]
    x_ChargeKind: Annotated[
        str, Column(Kind.STRING, Level.OURS, "What it is, in our words", frozenset(kind.value for kind in ChargeKind))
    ]
    x_GrantId: Annotated[str | None, Column(Kind.STRING, Level.OURS, "The grant of credit that pays")]
    x_GrantKind: Annotated[
        str | None, Column(Kind.STRING, Level.OURS, "Whether it was bought or given", _words("bought", "given"))
    ]


def columns() -> Iterator[tuple[str, Column, bool]]:
    """Yield the name of each column in the order of the file, what may be in it, and whether it may be null."""
    for name, hint in get_type_hints(FocusRow, include_extras=True).items():
        kind, column = get_args(hint)
        yield name, column, type(None) in get_args(kind)


class Account(NamedTuple):
    """Whose charges they are, and who sells."""

    public_id: str
    name: str
    seller: str
    provider: str


class Rate(NamedTuple):
    """What was used of a SKU at one price. unit: what its meter counts, as does quantity; prices per `unit_size`."""

    sku: str
    name: str
    meter: str
    unit: str
    price_id: str
    price_nano: int
    list_price_nano: int
    unit_size: int
    quantity: int
    list_nano: int


class Grant(NamedTuple):
    """A grant of credit."""

    public_id: str
    is_bought: bool


class Labeled(NamedTuple):
    """A project or a contract."""

    public_id: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """What becomes a row. billed_nano: nano-dollars; month: the one that is billed; period: when it was caused."""

    account: Account
    kind: ChargeKind
    billed_nano: int
    description: str
    month: Period
    period: Period
    invoice: str | None = None
    is_correction: bool = False
    product: str = ""
    project: Labeled | None = None
    contract: Labeled | None = None
    rate: Rate | None = None
    grant: Grant | None = None
    tags: str | None = None

    def row(self) -> FocusRow:
        """Return it in the columns of FOCUS."""
        service = SERVICES.get(self.product, BILLING)
        billed = decimal_string(self.billed_nano)
        return FocusRow(
            BilledCost=billed,
            BillingAccountId=self.account.public_id,
            BillingAccountName=self.account.name,
            BillingCurrency="USD",
            BillingPeriodStart=instant(self.month.start),
            BillingPeriodEnd=instant(self.month.end),
            ChargeCategory=self.kind.category,
            ChargeClass="Correction" if self.is_correction else None,
            ChargeDescription=self.description,
            ChargeFrequency="Usage-Based" if self.kind is ChargeKind.USAGE else "One-Time",
            ChargePeriodStart=instant(self.period.start),
            ChargePeriodEnd=instant(self.period.end),
            EffectiveCost=billed,
            InvoiceId=self.invoice,
            InvoiceIssuerName=self.account.seller,
            ProviderName=self.account.provider,
            PublisherName=self.account.provider,
            ServiceCategory=service.category,
            ServiceName=service.name,
            ServiceSubcategory=service.subcategory,
            SubAccountId=self.project and self.project.public_id,
            SubAccountName=self.project and self.project.name,
            Tags=self.tags,
            x_ChargeKind=self.kind.value,
            x_GrantId=self.grant and self.grant.public_id,
            x_GrantKind=self.grant and ("bought" if self.grant.is_bought else "given"),
            **self._commitment(),
            **self._rate(billed),
        )

    def _commitment(self) -> Mapping[str, Any]:
        of = self.contract
        return {
            "CommitmentDiscountCategory": of and "Spend",
            "CommitmentDiscountId": of and of.public_id,
            "CommitmentDiscountName": of and of.name,
            "CommitmentDiscountStatus": of and "Unused",
            "CommitmentDiscountType": of and "Contract commitment",
        }

    def _rate(self, billed: str) -> Mapping[str, Any]:
        rate = self.rate
        return {
            "ConsumedQuantity": rate and quantity_of(rate.quantity, 1),
            "ConsumedUnit": rate and unit_of(rate.unit, 1),
            "ContractedCost": billed,
            "ContractedUnitPrice": rate and decimal_string(rate.price_nano),
            "ListCost": decimal_string(rate.list_nano) if rate else billed,
            "ListUnitPrice": rate and decimal_string(rate.list_price_nano),
            "PricingCategory": rate and "Standard",
            "PricingQuantity": rate and quantity_of(rate.quantity, rate.unit_size),
            "PricingUnit": rate and unit_of(rate.unit, rate.unit_size),
            "SkuId": rate and rate.sku,
            "SkuMeter": rate and rate.meter,
            "SkuPriceId": rate and rate.price_id,
        }


def instant(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def quantity_of(quantity: int, unit_size: int) -> str:
    """Return how many times `unit_size` a quantity is: exactly where its decimals end, else rounded to 18 of them.

    With one decimal at least: readers that guess types take it for a decimal then.
    """
    whole, decimals = divmod(abs(divide_half_even(quantity * 10**DECIMALS, unit_size)), 10**DECIMALS)
    digits = f"{decimals:0{DECIMALS}d}".rstrip("0")
    return f"{'-' if quantity < 0 else ''}{whole}.{digits or '0'}"


def unit_of(unit: str, size: int) -> str:
    """Return `size` units of a meter as FOCUS writes them: Tokens, 1000000 Tokens, Hours, GiB-Hours."""
    if (unit, size) == ("second", 3_600):
        return "Hours"
    words = "-".join(word[:1].upper() + word[1:] for word in (unit or "unit").split("-"))
    return f"{words}s" if size == 1 else f"{size} {words}s"
