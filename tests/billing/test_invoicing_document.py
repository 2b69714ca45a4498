"""docs/algorithms/invoicing.md and tax.md are true."""

import re
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from billing.invoicing import Bucket, Credit, Part, Party, Terms, bill, lines_of, quote_tax
from billing.invoicing.credit import Payer
from billing.invoicing.tax import EU_RATES, MILLION
from portal.lib.money import NANO_PER_CENT, to_cents, usd_to_nano
from portal.lib.periods import month_of
from tests.billing.test_worked_numbers import number, table

MONTH = month_of(datetime(2028, 2, 29, 12, tzinfo=UTC))


@pytest.mark.parametrize("row", table("invoicing.md", "exact nano-dollars of the lines"), ids=lambda row: row["why"])
def test_cents_of_lines(row):
    exact = [number(part) for part in row["exact nano-dollars of the lines"].split(", ")]

    cents = to_cents(exact)

    assert (sum(cents), cents) == (
        number(row["total"]),
        [number(part) for part in row["cents of the lines"].split(", ")],
    )


def bucket(project: str, dollars: str) -> Bucket:
    nano = usd_to_nano(Decimal(dollars))
    return Bucket(MONTH.start, project, "models", "sku", "price_1", NANO_PER_CENT, 1, 0, nano // NANO_PER_CENT)


def credit(text: str) -> Credit:
    found = re.fullmatch(r"(\w+) ([\d.]+)(?: priority (\d+))?(?: for (\w))?", text)
    assert found, text
    name, dollars, priority, project = found.groups()
    return Credit(
        name,
        usd_to_nano(Decimal(dollars)),
        priority=int(priority or 50),
        is_bought=name == "bought",
        projects=frozenset(project or ()),
    )


def parts_of(text: str) -> dict[str, list[Part]]:
    named: dict[str, list[Part]] = {}
    for line in text.split("; "):
        project, _, parts = line.partition(" ")
        for part in parts.split(", "):
            name, dollars = part.split(" ")
            payer = Payer(name) if name in list(Payer) else Payer.CREDIT
            cents = usd_to_nano(Decimal(dollars)) // NANO_PER_CENT
            named.setdefault(project, []).append(Part(payer, name if payer is Payer.CREDIT else "", cents))
    return named


@pytest.mark.parametrize("row", table("invoicing.md", "lines"), ids=lambda row: row["parts"])
def test_who_pays(row):
    terms = Terms(credit_limit_nano=10**12 if row["terms"] == "yes" else 0)

    found = bill(
        [bucket(*line.split(" ")) for line in row["lines"].split(", ")],
        MONTH,
        credits_=[credit(text) for text in row["grants"].split(", ")],
        overrun_nano=usd_to_nano(Decimal(row["overrun"])),
        terms=terms,
    )

    assert found is not None
    assert {one.line.project: one.parts for one in found.lines} == parts_of(row["parts"])


def test_a_line_of_an_earlier_month_names_it():
    early = Bucket(datetime(2028, 1, 31, 23, tzinfo=UTC), "a", "models", "sku", "price_1", 1, 1, 3, 5)

    lines = lines_of([early, bucket("a", "1.00")], MONTH)

    assert [(line.is_adjustment, line.month.month, line.quantity) for line in lines] == [(False, 2, 100), (True, 1, 2)]


@pytest.mark.parametrize("row", table("tax.md", "seller"), ids=str)
def test_tax(row):
    buyer = Party(
        country=row["buyer"],
        tax_id="ID" if row["confirmed id"] == "yes" else "",
        exemption="C-1" if row["exemption"] == "yes" else "",
    )

    quote = quote_tax(Party(country=row["seller"]), buyer, number(row["base"]))

    assert (quote.treatment, quote.tax_cents) == (row["treatment"], number(row["tax"]))


def test_rates():
    documented = {row["country"]: Decimal(row["rate"]) for row in table("tax.md", "country")}

    assert documented == {country: Decimal(rate * 100) / MILLION for country, rate in EU_RATES.items()}
