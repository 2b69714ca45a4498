# Long because it is one list: every table with what it holds, how long and why.
"""How long usage, caps and credit are kept."""

from accounts.retention import HELD_BY_ORGANIZATION, MADE_BY, ORGANIZATION, PROJECT, USER
from portal.lib.retention import Age, Deleted, Kept, LeftOut, Part, Personal, Table, Whose, name_of

USAGE = Age(months=13)

_BILLED = "it is what was billed, and tax law asks for ten years"
_NUMBER = "a number, which leads to nobody once they are erased"
_TWO_PEOPLE = "a public id: two people answer for money that goes back"
_PAYMENT = {"payment_id": name_of("billing_payment", "payment_id")}
_ITS_OWN = "the organization's own, which the law wants on invoices"
_TRANSFER_STAFF = "a public id of a member of staff: two people answer for a transfer"
_STAFF = "a public id of a member of staff: two people answer for it"
_KEY = {"api_key_id": name_of("accounts_apikey", "api_key_id")}
_CAP = {"cap_id": name_of("billing_spendcap", "cap_id")}
_CAUSES = """CASE t.cause
    WHEN 'project' THEN (SELECT r.public_id FROM accounts_project AS r WHERE r.id::text = t.cause_id)
    WHEN 'key' THEN (SELECT r.public_id FROM accounts_apikey AS r WHERE r.id::text = t.cause_id)
    WHEN 'member' THEN (SELECT r.public_id FROM accounts_user AS r WHERE r.id::text = t.cause_id)
    ELSE t.cause_id END"""

_PRICED = "what was billed was priced with it"
# A member of staff is told which contracts they touched, not what those say.
_ALL_BUT_WHICH = ("name", "discount_basis_points", "drafted_by_id", "approved_by_id")
_PROJECTS = "(SELECT array_agg(r.public_id) FROM accounts_project AS r WHERE r.id = ANY(t.project_ids))"
_INVOICE = {"invoice_id": name_of("billing_invoice", "invoice_id")}

_PAID_WITH = MADE_BY | _INVOICE | {"card_id": name_of("billing_paymentmethod", "card_id")}
_CHANGED_BY = {"changed_by_id": name_of("accounts_user", "changed_by_id")}

_OUR_BOOKS = LeftOut("the books of who sells; what was given and billed is in the other files")

TABLES = (
    Table(
        "billing_usageevent",
        "single measurements of usage, one partition a day",
        Whose.ORGANIZATION,
        Deleted(
            USAGE,
            "occurred_at",
            unless_words="an invoice counts them whose file is not kept yet",
            through="billing_forget_usage",
        ),
        "long enough to question a bill of the year before; the hourly sums stay",
        (Personal("user_id", _NUMBER),),
        of_organization=Part(
            "usage_events",
            key=("occurred_at", "event_id"),
            hidden=("counted_order",),
            shown=PROJECT | _KEY | USER,
        ),
        of_person=Part(
            "usage_events",
            "t.user_id = %(user)s",
            key=("occurred_at", "event_id"),
            hidden=("counted_order",),
            shown=PROJECT | _KEY | USER,
        ),
    ),
    Table(
        "billing_usagefate",
        "what became of usage that came late or from outside, and what a person decided",
        Whose.ORGANIZATION,
        Deleted(USAGE, "recorded_at", HELD_BY_ORGANIZATION),
        "as long as the event: a repetition that comes later is too old to be counted",
        of_organization=Part("usage_fates", key=("recorded_at", "event_id"), hidden=("content_digest", "decided_by")),
    ),
    Table(
        "billing_usagebyhour",
        "usage and its cost by project, SKU and hour",
        Whose.ORGANIZATION,
        ORGANIZATION,
        _BILLED,
        of_organization=Part("usage_by_hour", key=("hour", "project_id", "sku"), shown=PROJECT),
    ),
    Table(
        "billing_usagebyresource",
        "usage by day and by what and who caused it",
        Whose.ORGANIZATION,
        ORGANIZATION,
        "it explains what was billed, and its sums must stay those of the hours",
        (Personal("user_id", _NUMBER),),
        of_organization=Part(
            "usage_by_resource",
            key=("day", "project_id", "sku", "resource_id", "api_key_id", "user_id"),
            shown=PROJECT | _KEY | USER,
        ),
        of_person=Part(
            "usage_by_resource",
            "t.user_id = %(user)s",
            key=("organization_id", "day", "project_id", "sku", "resource_id", "api_key_id"),
            shown=PROJECT | _KEY | USER,
        ),
    ),
    Table(
        "billing_spendbyday",
        "spend by SKU and day",
        Whose.ORGANIZATION,
        ORGANIZATION,
        _BILLED,
        of_organization=Part("spend_by_day", key=("day", "sku", "price_id")),
    ),
    Table(
        "billing_spendbycause",
        "spend by day and week and by project, API key, resource and member",
        Whose.ORGANIZATION,
        ORGANIZATION,
        "it explains what was billed",
        (Personal("cause_id", _NUMBER),),
        of_organization=Part(
            "spend_by_cause", key=("cause", "span_days", "day", "cause_id"), shown={"cause_id": _CAUSES}
        ),
        of_person=Part(
            "spend_by_cause",
            "t.cause = 'member' AND t.cause_id = %(user)s::text",
            key=("organization_id", "span_days", "day"),
            shown={"cause_id": _CAUSES},
        ),
    ),
    Table(
        "billing_spendcap",
        "limits, and what is settled and reserved of them",
        Whose.ORGANIZATION,
        ORGANIZATION,
        "what was settled under it is a sum of what was billed",
        of_organization=Part("spend_caps", shown=PROJECT | _KEY),
    ),
    Table(
        "billing_capwarning",
        "warnings that a cap fills",
        Whose.ORGANIZATION,
        ORGANIZATION,
        "the history of its budget",
        of_organization=Part("cap_warnings", shown=_CAP),
    ),
    Table(
        "billing_costtags",
        "cost centers and other tags of projects, by day",
        Whose.ORGANIZATION,
        ORGANIZATION,
        "they divide what was billed",
        of_organization=Part("cost_tags", shown=PROJECT),
    ),
    Table(
        "billing_spendanomaly",
        "days that cost far more than usual, by product",
        Whose.ORGANIZATION,
        ORGANIZATION,
        "the history of its spend",
        of_organization=Part("unusual_days"),
    ),
    Table(
        "billing_anomalymails",
        "whether it wants mails of such days",
        Whose.ORGANIZATION,
        ORGANIZATION,
        "it asked for that",
        of_organization=Part("mails_of_unusual_days"),
    ),
    Table(
        "billing_reservation",
        "holds of budget by the gateway and by instances",
        Whose.ORGANIZATION,
        ORGANIZATION,
        "write-offs refer to them",
        of_organization=Part("reservations", hidden=("limit_ids",), shown=PROJECT | _CAP | _KEY),
    ),
    Table(
        "billing_writeoff",
        "usage that we paid ourselves",
        Whose.ORGANIZATION,
        ORGANIZATION,
        _BILLED,
        of_organization=Part(
            "write_offs", shown=_CAP | {"reservation_id": name_of("billing_reservation", "reservation_id")}
        ),
    ),
    Table(
        "billing_creditgrant",
        "credit that was given",
        Whose.ORGANIZATION,
        ORGANIZATION,
        _BILLED,
        of_organization=Part("credit_grants", shown={"project_ids": _PROJECTS}),
    ),
    Table(
        "billing_invoice",
        "invoices",
        Whose.ORGANIZATION,
        ORGANIZATION,
        _BILLED,
        of_organization=Part(
            "invoices", hidden=("counted_below",), shown={"supersedes_id": name_of("billing_invoice", "supersedes_id")}
        ),
    ),
    Table(
        "billing_invoiceline",
        "lines of invoices, and who pays them",
        Whose.ORGANIZATION,
        ORGANIZATION,
        _BILLED,
        of_organization=Part(
            "invoice_lines",
            shown=PROJECT | _INVOICE | {"contract_id": name_of("billing_contract", "contract_id")},
        ),
    ),
    Table(
        "billing_invoicedbucket",
        "which usage of an hour an invoice billed",
        Whose.ORGANIZATION,
        ORGANIZATION,
        _BILLED,
        of_organization=Part("invoiced_hours", shown=PROJECT | _INVOICE),
    ),
    Table(
        "billing_invoicefile",
        "where the files of invoices are, and their digests; the files themselves are kept as long",
        Whose.ORGANIZATION,
        ORGANIZATION,
        _BILLED,
        of_organization=Part("invoice_files", hidden=("name",), shown=_INVOICE),
    ),
    Table(
        "billing_creditnote",
        "what was taken back of invoices",
        Whose.ORGANIZATION,
        ORGANIZATION,
        _BILLED,
        (Personal("proposed_by", _STAFF), Personal("decided_by", _STAFF)),
        of_organization=Part("credit_notes", hidden=("proposed_by", "decided_by"), shown=_INVOICE),
    ),
    Table(
        "billing_goodwill",
        "credit that staff gave by their own decision, or wanted to",
        Whose.ORGANIZATION,
        ORGANIZATION,
        _BILLED,
        (Personal("proposed_by", _STAFF), Personal("decided_by", _STAFF)),
        of_organization=Part("goodwill", hidden=("proposed_by", "decided_by")),
    ),
    Table(
        "billing_givenupdebt",
        "what payments that were taken back left owed and staff gave up, or wanted to",
        Whose.ORGANIZATION,
        ORGANIZATION,
        _BILLED,
        (Personal("proposed_by", _STAFF), Personal("decided_by", _STAFF)),
        of_organization=Part("debts_given_up", hidden=("proposed_by", "decided_by")),
    ),
    Table(
        "billing_invoiceseries",
        "the last number of invoices and credit notes",
        Whose.PORTAL,
        Kept("forever"),
        "numbers have no gaps and are given once",
    ),
    Table(
        "billing_billingaccount",
        "who the organization is at the payment provider",
        Whose.ORGANIZATION,
        ORGANIZATION,
        "payments and refunds lead to it",
        of_organization=Part("billing_account"),
    ),
    Table(
        "billing_billingdetails",
        "who the organization is on its invoices: name, address, tax id, and where invoices go",
        Whose.ORGANIZATION,
        ORGANIZATION,
        _BILLED,
        (
            Personal("legal_name", _ITS_OWN),
            Personal("address", _ITS_OWN),
            Personal("tax_id", _ITS_OWN),
            Personal("invoice_emails", "addresses of the organization, which its members choose and can change"),
        ),
        of_organization=Part("billing_details"),
    ),
    Table(
        "billing_banktransfer",
        "bank transfers as statements name them, and which members of staff recorded and confirmed them",
        Whose.ORGANIZATION,
        ORGANIZATION,
        _BILLED,
        (
            Personal("payer", "who paid, as the bank says; tax law asks for ten years"),
            Personal("reference", "as payer"),
            Personal("recorded_by", _TRANSFER_STAFF),
            Personal("confirmed_by", _TRANSFER_STAFF),
            Personal("disputed_by", _TRANSFER_STAFF),
            Personal("disputed_because", "a sentence of staff about a transfer"),
            Personal("taken_back_by", _TRANSFER_STAFF),
        ),
        of_organization=Part(
            "bank_transfers",
            hidden=("recorded_by", "confirmed_by", "disputed_by", "disputed_because", "taken_back_by"),
            shown={"credit_grant_id": name_of("billing_creditgrant", "credit_grant_id")},
            only="t.status IN ('confirmed', 'taken_back')",
        ),
    ),
    Table(
        "billing_transfermatch",
        "which invoices a bank transfer paid",
        Whose.ORGANIZATION,
        ORGANIZATION,
        _BILLED,
        of_organization=Part(
            "transfer_matches",
            shown=_INVOICE | {"transfer_id": name_of("billing_banktransfer", "transfer_id")},
            only="EXISTS (SELECT FROM billing_banktransfer AS b WHERE b.id = t.transfer_id"
            " AND b.status IN ('confirmed', 'taken_back'))",
        ),
    ),
    Table(
        "billing_standing",
        "how the organization stands with its bills",
        Whose.ORGANIZATION,
        ORGANIZATION,
        "what was done for a debt, and when",
        (Personal("approved_by", "a public id of a member of staff, who answers for a suspension"),),
        of_organization=Part("standing", hidden=("approved_by",)),
    ),
    Table(
        "billing_standingletter",
        "what it was told about its bills",
        Whose.ORGANIZATION,
        ORGANIZATION,
        "it proves that notice was given",
        of_organization=Part("standing_letters", hidden=("standing_id",)),
    ),
    Table(
        "billing_payment",
        "payments by card for credit, without anything of the card",
        Whose.ORGANIZATION,
        ORGANIZATION,
        _BILLED,
        (Personal("created_by_id", _NUMBER),),
        of_organization=Part("payments", shown=_PAID_WITH),
        of_person=Part("payments", "t.created_by_id = %(user)s", shown=_PAID_WITH),
    ),
    Table(
        "billing_autoreload",
        "when credit is bought by itself, and who wanted that",
        Whose.ORGANIZATION,
        ORGANIZATION,
        "payments were made by it",
        (Personal("changed_by_id", _NUMBER),),
        of_organization=Part("auto_reload", shown=_CHANGED_BY),
        of_person=Part("auto_reload", "t.changed_by_id = %(user)s", shown=_CHANGED_BY),
    ),
    Table(
        "billing_paymentmethod",
        "cards that the payment provider keeps: brand, last four digits, when they expire",
        Whose.ORGANIZATION,
        ORGANIZATION,
        "payments were made with them",
        (Personal("removed_by_id", _NUMBER),),
        of_organization=Part("payment_methods", shown={"removed_by_id": name_of("accounts_user", "removed_by_id")}),
        of_person=Part(
            "payment_methods",
            "t.removed_by_id = %(user)s",
            shown={"removed_by_id": name_of("accounts_user", "removed_by_id")},
        ),
    ),
    Table(
        "billing_refund",
        "what went back of payments, or was asked to",
        Whose.ORGANIZATION,
        ORGANIZATION,
        _BILLED,
        (Personal("asked_by", _TWO_PEOPLE), Personal("decided_by", _TWO_PEOPLE)),
        of_organization=Part("refunds", hidden=("asked_by", "decided_by"), shown=_PAYMENT),
    ),
    Table(
        "billing_dispute",
        "payments that their bank took back or asked about",
        Whose.ORGANIZATION,
        ORGANIZATION,
        _BILLED,
        (Personal("answered_by", "a public id of a member of staff: somebody answers for what a bank is told"),),
        of_organization=Part("disputes", hidden=("answered_by",), shown=_PAYMENT),
    ),
    Table(
        "billing_stripeevent",
        "messages of the payment provider: ids and kinds, nothing of their content",
        Whose.PORTAL,
        Deleted(Age(days=90), "received_at"),
        "long enough to find out what was missed",
    ),
    Table(
        "billing_skucost",
        "what a unit of a SKU costs ourselves, from which month on",
        Whose.PORTAL,
        Kept("forever"),
        "margins of former months are computed with it",
        (Personal("entered_by", "a public id of a member of staff, who answers for it"),),
    ),
    Table(
        "billing_reconciliation",
        "which comparison of the books found how much on which day",
        Whose.PORTAL,
        Kept("forever"),
        "it proves that the books agreed",
    ),
    Table(
        "billing_difference",
        "what two sides of the books said differently, and how a person explained it",
        Whose.PORTAL,
        Kept("forever"),
        "it proves that nothing stayed open",
        (Personal("explained_by", "a public id of a member of staff, who answers for it"),),
    ),
    Table(
        "billing_contract",
        "what was agreed on: terms in versions, and which member of staff drafted and approved them",
        Whose.ORGANIZATION,
        ORGANIZATION,
        _PRICED,
        (Personal("drafted_by_id", _NUMBER), Personal("approved_by_id", _NUMBER)),
        of_organization=Part("contracts", hidden=("drafted_by_id", "approved_by_id"), only="t.status = 'published'"),
        of_person=Part("contracts_of_staff", "%(user)s IN (t.drafted_by_id, t.approved_by_id)", hidden=_ALL_BUT_WHICH),
    ),
    Table(
        "billing_contractprice",
        "prices that were agreed on",
        Whose.ORGANIZATION,
        ORGANIZATION,
        _PRICED,
        of_organization=Part(
            "contract_prices",
            shown={
                "contract_id": name_of("billing_contract", "contract_id"),
                "sku_id": name_of("catalog_sku", "sku_id", "code"),
            },
            only="EXISTS (SELECT FROM billing_contract AS c WHERE c.id = t.contract_id AND c.status = 'published')",
        ),
    ),
    Table(
        "billing_pricenotice",
        "which higher prices it was told of, and when",
        Whose.ORGANIZATION,
        ORGANIZATION,
        "it proves that notice was given",
        of_organization=Part("price_notices"),
    ),
    Table(
        "billing_ledgeraccount",
        "accounts of the double-entry ledger and what was debited and credited to them",
        Whose.ORGANIZATION,
        ORGANIZATION,
        _BILLED,
        of_organization=_OUR_BOOKS,
    ),
    Table(
        "billing_ledgerentry",
        "entries of the double-entry ledger",
        Whose.ORGANIZATION,
        ORGANIZATION,
        _BILLED,
        of_organization=_OUR_BOOKS,
    ),
)
