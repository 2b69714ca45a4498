"""The test cards as data: the numbers that Stripe documents for tests, and what happens with each."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Decline:
    """code: of the error; decline_code: the issuer's reason, where there is one."""

    code: str
    decline_code: str | None = None

    @property
    def message(self) -> str:
        return _SENTENCES.get(self.code, "The card was declined.")


@dataclass(frozen=True, slots=True)
class TestCard:
    """on_saving: refusal when it is attached or set up; on_charge: when it is charged.

    authentication: "never", "unless_set_up" (charges without the customer work once it was set up with
    authentication), "on_session" (only while the customer is there), "always".
    dispute: the reason that its charges are disputed for, or an inquiry. refund: how its refunds end.
    """

    __test__ = False  # pytest takes every class whose name begins so for a test.

    number: str
    label: str
    brand: str = "visa"
    funding: str = "credit"
    on_saving: Decline | None = None
    on_charge: Decline | None = None
    authentication: str = "never"
    dispute: str | None = None
    is_inquiry: bool = False
    warns_of_fraud: bool = False
    refund: str = "succeeded"
    settles_at_once: bool = False
    names: tuple[str, ...] = field(default=())  # those that tests use instead of a number


_SENTENCES = {
    "authentication_required": "The card's bank wants its holder to authenticate this payment.",
    "expired_card": "The card has expired.",
    "incorrect_cvc": "The card's security code is wrong.",
    "processing_error": "Something went wrong while the card was processed; try again in a while.",
}
_DECLINED = Decline("card_declined", "generic_decline")
_POOR = Decline("card_declined", "insufficient_funds")
_LATER = Decline("authentication_required", "authentication_required")


def _refused(number: str, label: str, decline: Decline, *names: str) -> TestCard:
    return TestCard(number, label, on_saving=decline, on_charge=decline, names=names)


CARDS = (
    TestCard("4242424242424242", "pays", names=("visa",)),
    TestCard("4000056655665556", "pays, a debit card", funding="debit", names=("visa_debit",)),
    TestCard("5555555555554444", "pays, a Mastercard", brand="mastercard", names=("mastercard",)),
    TestCard("378282246310005", "pays, an American Express", brand="amex", names=("amex",)),
    TestCard(
        "4000000000000077", "pays, and the money is there at once", settles_at_once=True, names=("bypassPending",)
    ),
    TestCard(
        "4000002500003155",
        "asks for 3-D Secure until it is set up",
        authentication="unless_set_up",
        names=("authenticationRequiredOnSetup",),
    ),
    TestCard(
        "4000002760003184",
        "asks for 3-D Secure every time",
        authentication="always",
        names=("authenticationRequired", "threeDSecure2Required"),
    ),
    TestCard(
        "4000003800000446",
        "asks for 3-D Secure only while its holder is there",
        authentication="on_session",
        names=("authenticationRequiredSetupForOffSession",),
    ),
    TestCard(
        "4000008260003178",
        "asks for 3-D Secure, then has too little money",
        authentication="always",
        on_charge=_POOR,
        names=("authenticationRequiredChargeDeclinedInsufficientFunds",),
    ),
    TestCard("4000000000000341", "can be saved, is declined later", on_charge=_DECLINED, names=("chargeCustomerFail",)),
    _refused("4000000000000002", "is declined", _DECLINED, "visa_chargeDeclined", "chargeDeclined"),
    _refused(
        "4000000000009995",
        "has too little money",
        _POOR,
        "visa_chargeDeclinedInsufficientFunds",
        "chargeDeclinedInsufficientFunds",
    ),
    _refused("4000000000009987", "was lost", Decline("card_declined", "lost_card"), "visa_chargeDeclinedLostCard"),
    _refused(
        "4000000000009979", "was stolen", Decline("card_declined", "stolen_card"), "visa_chargeDeclinedStolenCard"
    ),
    _refused("4000000000000069", "has expired", Decline("expired_card", "expired_card"), "chargeDeclinedExpiredCard"),
    _refused(
        "4000000000000127",
        "has another security code",
        Decline("incorrect_cvc", "incorrect_cvc"),
        "chargeDeclinedIncorrectCvc",
    ),
    _refused(
        "4000000000000119",
        "meets a failure of its network",
        Decline("processing_error", "processing_error"),
        "chargeDeclinedProcessingError",
    ),
    _refused(
        "4000000000006975",
        "is used too often",
        Decline("card_declined", "card_velocity_exceeded"),
        "visa_chargeDeclinedVelocityLimitExceeded",
    ),
    TestCard(
        "4100000000000019",
        "is blocked as fraud",
        on_charge=Decline("card_declined", "fraudulent"),
        names=("radarBlock",),
    ),
    TestCard("4000000000000259", "pays, then disputes it", dispute="fraudulent", names=("createDispute",)),
    TestCard(
        "4000000000002685",
        "pays, then says that nothing came",
        dispute="product_not_received",
        names=("createDisputeProductNotReceived",),
    ),
    TestCard(
        "4000000000001976",
        "pays, then its bank asks",
        dispute="fraudulent",
        is_inquiry=True,
        names=("createDisputeInquiry",),
    ),
    TestCard(
        "4000000000005423",
        "pays, then its bank warns of fraud",
        warns_of_fraud=True,
        names=("createIssuerFraudRecord",),
    ),
    TestCard("4000000000007726", "pays; a refund takes a day", refund="pending", names=("pendingRefund",)),
    TestCard("4000000000005126", "pays; a refund fails a day later", refund="failed", names=("refundFail",)),
)
_LENGTHS = range(12, 20)
_BY_NUMBER = {card.number: card for card in CARDS}
_BY_NAME = {name: card for card in CARDS for name in card.names}


def card_numbered(number: str) -> TestCard | None:
    return _BY_NUMBER.get(number)


def card_named(name: str) -> TestCard | None:
    """Return the card that `pm_card_…` or `tok_…` means."""
    return _BY_NAME.get(name.removeprefix("pm_card_").removeprefix("tok_"))


def is_card_number(number: str) -> bool:
    """Return whether the check digit is right."""
    if not (number.isdigit() and len(number) in _LENGTHS):
        return False
    doubled = [int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(number))]
    return sum(sum(divmod(digit, 10)) for digit in doubled) % 10 == 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a payment: its holder has to authenticate first, or it is declined, or neither."""

    wants_authentication: bool = False
    decline: Decline | None = None


def judge_payment(card: TestCard, *, off_session: bool, is_set_up: bool, authenticated: bool | None) -> Verdict:
    """Return what the bank says of a payment. authenticated: how authentication ended, None before it."""
    if authenticated is False:
        return Verdict(decline=Decline("payment_intent_authentication_failure"))
    wanted = {
        "never": False,
        "unless_set_up": not is_set_up,
        "on_session": not off_session,
        "always": True,
    }[card.authentication]
    if wanted and not authenticated:
        return Verdict(decline=_LATER) if off_session else Verdict(wants_authentication=True)
    return Verdict(decline=card.on_charge)


def judge_setup(card: TestCard, *, authenticated: bool | None) -> Verdict:
    """Return what the bank says of saving a card for later charges."""
    if authenticated is False:
        return Verdict(decline=Decline("setup_intent_authentication_failure"))
    if card.authentication in ("unless_set_up", "always") and not authenticated:
        return Verdict(wants_authentication=True)
    return Verdict(decline=card.on_saving)
