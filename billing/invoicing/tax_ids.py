"""How tax ids are written. Whether one belongs to somebody only its tax office knows: docs/algorithms/tax.md."""

from stdnum import get_cc_module
from stdnum.eu import vat
from stdnum.exceptions import ValidationError

from billing.invoicing.tax import EU_RATES

# Where no rule is known, an id is letters and digits.
SHORTEST, LONGEST = 4, 24


class BadTaxIdError(ValueError):
    """The id cannot be one of that country."""


def normal_tax_id(country: str, given: str) -> str:
    """Return an id in the one form that is kept: in the European Union with its letters in front, DE136695976.

    country: ISO 3166 alpha-2. Spaces, dots and case do not matter. Raises BadTaxIdError.
    """
    try:
        if country in EU_RATES:
            return _of_the_union(country, given)
        module = get_cc_module(country, "vat")
        if module is not None:
            return str(module.validate(given))
    except ValidationError as error:
        raise BadTaxIdError from error
    plain = "".join(char for char in given.upper() if char not in " .-/")
    if not plain.isascii() or not plain.isalnum() or not SHORTEST <= len(plain) <= LONGEST:
        raise BadTaxIdError
    return plain


def _of_the_union(country: str, given: str) -> str:
    # Greece writes its own letters in front of its ids.
    letters = {"GR": "EL"}.get(country, country)
    bare = "".join(given.upper().split())
    validated: str = vat.validate(bare if bare.startswith(letters) else f"{letters}{bare}")
    if not validated.startswith(letters):
        raise BadTaxIdError
    return validated
