"""Public ids: typed and random, like inst_8fQ2…; the integers of the database stay inside."""

import re
import secrets
import string
from collections.abc import Callable

from portal.lib.masking import masked

ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
LENGTH = 20  # 119 random bits


def random_base62(length: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


def new_public_id(prefix: str) -> str:
    """Return a new id such as `inst_` followed by 20 base62 characters."""
    return f"{prefix}_{random_base62(LENGTH)}"


# Models need an importable callable per prefix as a default, so that migrations can name it.
def _maker(prefix: str) -> Callable[[], str]:
    def make() -> str:
        return new_public_id(prefix)

    make.__name__ = make.__qualname__ = f"new_{prefix}_id"
    return make


new_user_id = _maker("user")
new_org_id = _maker("org")
new_proj_id = _maker("proj")
new_key_id = _maker("key")
new_mem_id = _maker("mem")
new_svc_id = _maker("svc")
new_invite_id = _maker("invite")
new_inst_id = _maker("inst")
new_ssh_id = _maker("ssh")
new_grant_id = _maker("grant")
new_cap_id = _maker("cap")
new_hold_id = _maker("hold")
new_req_id = _maker("req")
new_dep_id = _maker("dep")
new_price_id = _maker("price")
new_ctr_id = _maker("ctr")
new_prop_id = _maker("prop")
new_orig_id = _maker("orig")
new_hook_id = _maker("hook")
new_dom_id = _maker("dom")
new_sso_id = _maker("sso")
new_dirtok_id = _maker("dirtok")
new_scimuser_id = _maker("scimuser")
new_scimgroup_id = _maker("scimgroup")
new_acct_id = _maker("acct")
new_txn_id = _maker("txn")
new_rate_id = _maker("rate")
new_pay_id = _maker("pay")
new_dispute_id = _maker("dispute")
new_card_id = _maker("card")
new_refund_id = _maker("refund")
new_inv_id = _maker("inv")
new_cnote_id = _maker("cnote")
new_diff_id = _maker("diff")
new_terms_id = _maker("terms")
new_transfer_id = _maker("transfer")
new_adj_id = _maker("adj")


# An id from outside is kept only if it cannot smuggle anything into logs or headers.
_ACCEPTED_REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{8,64}")


def accepted_request_id(given: str) -> str | None:
    """Return the id that a client gave its request in `x-request-id`, or None when it is not fit to be repeated."""
    # The audit log keeps it: a key that somebody put there by mistake would stay.
    is_fit = _ACCEPTED_REQUEST_ID.fullmatch(given) and masked(given) == given
    return given if is_fit else None


def engine_name(public_id: str) -> str:
    """Return what provisioning engines call the thing: lower case, `_` as `-`, as their naming rules want."""
    return public_id.lower().replace("_", "-")
