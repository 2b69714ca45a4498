"""`expand`: ids in an answer replaced by the objects that they name, and lists that are only sent when asked for."""

from collections.abc import Callable

from billing.demo_stripe.account import Account, copy_of
from billing.demo_stripe.kinds import KINDS
from billing.demo_stripe.refusals import Body, Refused
from billing.demo_stripe.spec.shapes import fields_of

DEEPEST = 4


def expand(account: Account, answer: Body, paths: list[str]) -> None:
    """Expand an answer in place. Raises Refused for what cannot be expanded."""
    for path in paths:
        parts = path.split(".")
        if len(parts) > DEEPEST:
            raise Refused(f"expand goes {DEEPEST} levels deep, and {path} is deeper.", param="expand")
        _expand_one(account, answer, parts, path)


def _expand_one(account: Account, answer: Body, parts: list[str], path: str) -> None:
    head, rest = parts[0], parts[1:]
    if answer.get("object") in ("list", "search_result") and head == "data":
        for each in answer["data"]:
            _expand_one(account, each, rest, path) if rest else None
        return
    kind = answer.get("object")
    if kind in KINDS and head not in fields_of(KINDS[kind].source):
        raise Refused(f"This property cannot be expanded ({path}).", param="expand")
    value = answer.get(head)
    if isinstance(value, str) and value in account.objects:
        answer[head] = copy_of(account.objects[value])
    elif isinstance(value, str):
        raise Refused(f"This property cannot be expanded ({path}).", param="expand")
    elif value is None and (kind, head) in _LISTS:
        answer[head] = copy_of(_LISTS[kind, head](account, answer))
    if isinstance(answer.get(head), dict) and rest:
        _expand_one(account, answer[head], rest, path)


def _whole_list(found: list[Body], url: str) -> Body:
    return {"object": "list", "data": found[:10], "has_more": len(found) > 10, "url": url}  # noqa: PLR2004  # one page


def _line_items(account: Account, of: Body) -> Body:
    found = [account.objects[name] for name in account.secrets.made_with[of["id"]]["items"]]
    return _whole_list(found, f"/v1/{of['object'].replace('.', '/')}s/{of['id']}/line_items")


def _tax_ids(account: Account, customer: Body) -> Body:
    found = [each for each in account.all_of("tax_id") if each["customer"] == customer["id"]]
    return _whole_list(found, f"/v1/customers/{customer['id']}/tax_ids")


def _refunds(account: Account, charge: Body) -> Body:
    found = [each for each in account.all_of("refund") if each["charge"] == charge["id"]]
    return _whole_list(found, f"/v1/charges/{charge['id']}/refunds")


_LISTS: dict[tuple[str | None, str], Callable[[Account, Body], Body]] = {
    ("checkout.session", "line_items"): _line_items,
    ("tax.calculation", "line_items"): _line_items,
    ("customer", "tax_ids"): _tax_ids,
    ("charge", "refunds"): _refunds,
}
