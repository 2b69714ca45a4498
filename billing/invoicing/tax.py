"""Which tax is due between two parties, by a table of our own. Rules and worked numbers: docs/algorithms/tax.md."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from portal.lib.money import divide_half_even

# Standard rates of value-added tax in the European Union, in millionths.
EU_RATES: Mapping[str, int] = {
    "AT": 200_000, "BE": 210_000, "BG": 200_000, "CY": 190_000, "CZ": 210_000, "DE": 190_000, "DK": 250_000,
    "EE": 240_000, "ES": 210_000, "FI": 255_000, "FR": 200_000, "GR": 240_000, "HR": 250_000, "HU": 270_000,
    "IE": 230_000, "IT": 220_000, "LT": 210_000, "LU": 170_000, "LV": 210_000, "MT": 180_000, "NL": 210_000,
    "PL": 230_000, "PT": 230_000, "RO": 210_000, "SE": 250_000, "SI": 220_000, "SK": 230_000,
}  # fmt: skip
MILLION = 1_000_000


class Treatment(StrEnum):
    NONE = "none"  # nothing is due where the seller is not registered
    STANDARD = "standard"
    REVERSE_CHARGE = "reverse_charge"
    EXEMPT = "exempt"


@dataclass(frozen=True, slots=True)
class Party:
    """Seller or buyer as tax sees them. country: ISO 3166 alpha-2, empty where unknown.

    tax_id: of a seller its own, of a buyer one that the tax office confirmed. exemption: a certificate's number.
    """

    name: str = ""
    address: str = ""
    country: str = ""
    tax_id: str = ""
    exemption: str = ""


NOBODY = Party()


@dataclass(frozen=True, slots=True)
class TaxQuote:
    """The tax of an invoice: one rate, in millionths, on one base in cents. legend: what the law wants said."""

    treatment: Treatment
    rate_millionths: int
    base_cents: int
    tax_cents: int
    legend: str = ""


def quote_tax(seller: Party, buyer: Party, base_cents: int) -> TaxQuote:
    """Return the tax on what a buyer owes: rounded half-even to a cent once, per rate and invoice.

    base_cents: what is owed after credit, never below zero (ValueError).
    """
    if base_cents < 0:
        raise ValueError("there is no tax on less than nothing")
    treatment = _treatment(seller, buyer)
    rate = EU_RATES[buyer.country] if treatment is Treatment.STANDARD else 0
    legends = {
        Treatment.NONE: "",
        Treatment.STANDARD: "",
        Treatment.REVERSE_CHARGE: f"Reverse charge: the recipient {buyer.tax_id} accounts for the tax.",
        Treatment.EXEMPT: f"Exempt from tax by certificate {buyer.exemption}.",
    }
    return TaxQuote(treatment, rate, base_cents, tax_of(base_cents, rate), legends[treatment])


def tax_of(base_cents: int, rate_millionths: int) -> int:
    """Return cents of tax on a base in cents, half-even."""
    return divide_half_even(base_cents * rate_millionths, MILLION)


def _treatment(seller: Party, buyer: Party) -> Treatment:
    # A seller in the Union declares in all of it (one-stop shop); one elsewhere is registered nowhere in this table.
    if seller.country not in EU_RATES or buyer.country not in EU_RATES:
        return Treatment.NONE
    if buyer.exemption:
        return Treatment.EXEMPT
    if buyer.country != seller.country and buyer.tax_id:
        return Treatment.REVERSE_CHARGE
    return Treatment.STANDARD
