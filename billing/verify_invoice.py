# Long because it is one file that needs nothing else: whoever was billed downloads it and reads it.
"""`verify-invoice`: compute an invoice again from its export and the public rate card, and name what does not come out.

A program of its own for whoever was billed: one file that needs only the standard library and imports nothing of the
portal, so that it does not repeat the portal's mistakes. Rules: docs/algorithms/invoicing.md; the files: docs/api.md.

    verify-invoice HR-000123.jsonl --prices rate-card.json
"""

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

NANO, CENT = 10**9, 10**7
MILLION = 10**6
HOUR = timedelta(hours=1)

type Record = dict[str, Any]
type Where = tuple[datetime, str, str]  # an hour, a project, a SKU
type Share = tuple[datetime, str, str, str]  # a month, a SKU, a price, a project


class Differs(Exception):
    """Something of the invoice does not come out; the text names it."""


class Export:
    """What a file says."""

    def __init__(self, records: Iterable[Record]) -> None:
        self.by_kind: defaultdict[str, list[Record]] = defaultdict(list)
        for record in records:
            self.by_kind[record["record"]].append(record)
        if [len(self.by_kind[kind]) for kind in ("invoice", "end")] != [1, 1]:
            raise Differs("The file is not one whole export: download it again.")
        self.invoice = self.by_kind["invoice"][0]
        self.lines, self.buckets, self.events = (self.by_kind[kind] for kind in ("line", "bucket", "event"))
        self.usage = [line for line in self.lines if not line.get("contract")]
        self.uses = self.by_kind["use"]
        self.tiers: dict[int, int] = {}  # nano-dollars that they change, by line
        self.prices = {price["id"]: price for price in self.by_kind["price"]}
        self.steps: defaultdict[int, list[Record]] = defaultdict(list)
        for bucket in self.buckets:
            self.steps[bucket["line"]].append(bucket)
        counts = self.by_kind["end"][0]
        for kind in ("line", "bucket", "event", "price"):
            if counts[f"{kind}s"] != len(self.by_kind[kind]):
                raise Differs(f"The file has {len(self.by_kind[kind])} {kind}s and says {counts[f'{kind}s']}.")
        # Exports from before there were tiers say nothing of them.
        if counts.get("uses", 0) != len(self.uses):
            raise Differs(f"The file has {len(self.uses)} uses and says {counts.get('uses', 0)}.")


def verify(export: Export, rate_card: dict[str, Record] | None) -> list[str]:
    """Compute everything again; return remarks. rate_card: by price id, None to do without. Raises Differs."""
    remarks = _check_prices(export, rate_card)
    _check_lines(export)
    _check_events(export)
    _check_uses(export)
    _check_tiers(export, rate_card or {})
    export.tiers = _tiers(export)
    exact = [_exact(export, line) for line in export.lines]
    _check_commitments(export)
    _check_cents(export, exact)
    _check_parts(export)
    _check_sums(export)
    return remarks


def _check_prices(export: Export, rate_card: dict[str, Record] | None) -> list[str]:
    remarks = []
    for line in export.usage:
        price = export.prices.get(line["price"])
        if price is None or price["sku"] != line["sku"]:
            raise Differs(f"{_name(line)}: the export has no price {line['price']} for it.")
        if rate_card is None:
            continue
        named, listed = f"{_name(line)}: price {price['id']}", rate_card.get(price["id"])
        if listed is None:
            remarks.append(f"{named} is not on the rate card; {_words(price)} by the export.")
            continue
        if _of_price(listed) != _of_price(price):
            raise Differs(f"{named} is {_words(listed)} on the rate card, not {_words(price)}.")
        for bucket in export.steps[line["position"]]:
            if not _in_force(listed, _instant(bucket["hour"])):
                raise Differs(f"{named} was not in force in the hour {bucket['hour']}.")
    return remarks


def _of_price(price: Record) -> tuple[Any, ...]:
    tiers = [(int(tier["above"]), _nano(tier["price"])) for tier in price.get("tiers", ())]
    return price["sku"], _nano(price["unit_price"]), int(price["unit_size"]), price.get("tier_mode", "flat"), tiers


def _check_tiers(export: Export, rate_card: dict[str, Record]) -> None:
    """Check prices on whose quantities tiers count: one may be of no line, since it was billed before."""
    for use in export.uses:
        listed = rate_card.get(use["price"])
        if listed is not None and _of_price(listed) != _of_price(export.prices[use["price"]]):
            raise Differs(f"{_name_use(use)}: its price is {_words(listed)} on the rate card.")


def _in_force(listed: Record, hour: datetime) -> bool:
    ends = listed["active_to"]
    return _instant(listed["active_from"]) <= hour and (ends is None or hour < _instant(ends))


def _words(price: Record) -> str:
    steps = "".join(f", {tier['price']} above {tier['above']}" for tier in price.get("tiers", ()))
    mode = f" ({price['tier_mode']}{steps})" if steps else ""
    return f"{price['unit_price']} USD per {price['unit_size']}{mode}"


def _check_lines(export: Export) -> None:
    """Every step of a bucket is of its line: the month, and what the line is called after."""
    positions = [line["position"] for line in export.lines]
    if positions != list(range(1, len(positions) + 1)):
        raise Differs("The lines are not numbered 1, 2, 3 …")
    start, end = (_instant(export.invoice[name]) for name in ("period_start", "period_end"))
    for line in export.lines:
        if _instant(line["month"]) >= end:
            raise Differs(f"{_name(line)}: it is of another month than it says.")
    for bucket in export.buckets:
        line = _line_of(export, bucket)
        hour, month = _instant(bucket["hour"]), _instant(line["month"])
        if (hour.year, hour.month) != (month.year, month.month):
            raise Differs(f"{_name(line)}: hour {bucket['hour']} is of another month.")
        # A part of a month has adjustments of that month: what came late for the part before.
        if line["is_adjustment"] != (hour < start) or hour >= end:
            raise Differs(f"{_name(line)}: it is of another month than it says.")


def _line_of(export: Export, bucket: Record) -> Record:
    position = bucket["line"]
    if not 1 <= position <= len(export.lines):
        raise Differs(f"Hour {bucket['hour']} is of a line {position}, which there is not.")
    line: Record = export.lines[position - 1]
    return line


def _check_events(export: Export) -> None:
    """The events of every hour sum to what the invoice billed of it, and to what was billed before."""
    sums: defaultdict[Where, list[int]] = defaultdict(lambda: [0, 0])
    seen: set[tuple[str, str]] = set()
    for event in export.events:
        identity = event["id"], event["occurred_at"]
        if identity in seen:
            raise Differs(f"Event {event['id']} is there twice.")
        seen.add(identity)
        at = _instant(event["occurred_at"]).replace(minute=0, second=0, microsecond=0)
        sums[at, event["project"], event["sku"]][event["is_new"]] += event["quantity"]
    for bucket in export.buckets:
        line = _line_of(export, bucket)
        before, new = sums.pop((_instant(bucket["hour"]), line["project"], line["sku"]), [0, 0])
        if (before, before + new) != (bucket["before"], bucket["after"]):
            raise Differs(
                f"{_name(line)}: in the hour {bucket['hour']} its events sum to {before} billed before and"
                f" {before + new} now; the invoice has {bucket['before']} and {bucket['after']}."
            )
    for hour, project, sku in sums:
        raise Differs(f"Events of {sku} in project {project} at {hour.isoformat()} are in no line.")


def _check_uses(export: Export) -> None:
    """The steps that this invoice bills are the difference of what was used of a month before it and with it.

    Of a SKU with tiers there is an account of every month that is billed, whole, with the first hour of each version.
    """
    steps: defaultdict[Share, int] = defaultdict(int)
    firsts: dict[tuple[datetime, str, str], datetime] = {}
    for bucket in export.buckets:
        line = _line_of(export, bucket)
        month, hour = _instant(line["month"]), _instant(bucket["hour"])
        steps[month, line["sku"], line["price"], line["project"]] += bucket["after"] - bucket["before"]
        version = month, line["sku"], line["price"]
        firsts[version] = min(hour, firsts.get(version, hour))
    seen = set()
    for use in export.uses:
        version = _instant(use["month"]), use["sku"], use["price"]
        hours = [hour for hour in (_hour(use["first_before"]), firsts.get(version)) if hour is not None]
        if (
            use["price"] not in export.prices
            or version in seen
            or min(hours, default=None) != _hour(use["first_after"])
        ):
            raise Differs(f"{_name_use(use)}: what was used at this price does not begin where it says.")
        seen.add(version)
        for part in use["projects"]:
            billed = steps.pop((*version, part["project"]), 0)
            if part["after"] - part["before"] != billed or (use["first_before"] is None and part["before"]):
                raise Differs(
                    f"{_name_use(use)}: from {part['before']} to {part['after']} in project {part['project']},"
                    f" and the invoice bills {billed}."
                )
    counted = {version[:2] for version in seen}
    for month, sku, price, project in steps:
        if (month, sku) in counted or export.prices[price].get("tiers"):
            raise Differs(f"Usage of {sku} in project {project} at {price} is in no account of {month:%Y-%m}.")


def _tiers(export: Export) -> dict[int, int]:
    """Return what tiers change, by line: all that they take off now less all that they took off before."""
    now, before = _all_taken_off(export, "after"), _all_taken_off(export, "before")
    changes = {key: before.get(key, 0) - now.get(key, 0) for key in now.keys() | before.keys()}
    found = {}
    for line in export.usage:
        key = _instant(line["month"]), line["sku"], line["price"], line["project"]
        found[line["position"]] = changes.pop(key, 0)
        if found[line["position"]] != _nano(line.get("tiers", "0")):
            said = line.get("tiers")
            raise Differs(f"{_name(line)}: tiers change {_dollars(found[line['position']])}, and it says {said}.")
    for (month, sku, _, project), nano in changes.items():
        if nano:
            raise Differs(f"Tiers change {_dollars(nano)} for {sku} of project {project} in {month:%Y-%m} in no line.")
    return found


def _all_taken_off(export: Export, when: str) -> dict[Share, int]:
    months: defaultdict[tuple[str, str], list[Record]] = defaultdict(list)
    for use in export.uses:
        if use[f"first_{when}"] is not None:
            months[use["month"], use["sku"]].append(use)
    return {
        (_instant(use["month"]), use["sku"], use["price"], project): nano
        for uses in months.values()
        for use, parts in _taken_off(export, sorted(uses, key=lambda use: _instant(use[f"first_{when}"])), when)
        for project, nano in parts.items()
    }


def _taken_off(export: Export, uses: list[Record], when: str) -> Iterator[tuple[Record, dict[str, int]]]:
    """Yield what tiers take off each version of a month, by project: nano-dollars, above 0."""
    whole = sum(part[when] for use in uses for part in use["projects"])
    start = 0
    for use in uses:
        price = export.prices[use["price"]]
        quantity = sum(part[when] for part in use["projects"])
        nano = _half_even(_saved(price, start, start + quantity, whole), int(price["unit_size"]))
        start += quantity
        if nano:
            parts = sorted((part["project"], part[when]) for part in use["projects"])
            weights = [max(used if quantity > 0 else -used, 0) for _, used in parts]
            yield use, {part[0]: -share for part, share in zip(parts, _apportion(-nano, weights), strict=True)}


def _saved(price: Record, start: int, end: int, whole: int) -> int:
    """Return what units [start, end) of a month's `whole` cost less than at the first price, times the unit size."""
    first = previous = _nano(price["unit_price"])
    saved, of_all = 0, first
    for tier in price.get("tiers", ()):
        above, nano = int(tier["above"]), _nano(tier["price"])
        saved += (max(end - above, 0) - max(start - above, 0)) * (previous - nano)
        of_all = nano if whole > above else of_all
        previous = nano
    return (end - start) * (first - of_all) if price.get("tier_mode") == "volume" else saved


def _apportion(amount: int, weights: list[int]) -> list[int]:
    """Spread an amount in proportion by largest remainder, the earlier one in a tie."""
    whole = sum(weights)
    parts = [amount * weight // whole for weight in weights]
    for i in sorted(range(len(parts)), key=lambda i: (-(amount * weights[i] % whole), i))[: amount - sum(parts)]:
        parts[i] += 1
    return parts


def _exact(export: Export, line: Record) -> int:
    """Check a line's quantity and exact amount, and return the amount in nano-dollars."""
    if line.get("contract"):
        if export.steps[line["position"]] or line["quantity"]:
            raise Differs(f"{_name(line)}: what was not used has a quantity.")
        return _nano(line["exact"])
    price = export.prices[line["price"]]
    unit_price, unit_size = _nano(price["unit_price"]), int(price["unit_size"])
    steps = export.steps[line["position"]]
    quantity = sum(bucket["after"] - bucket["before"] for bucket in steps)
    exact = sum(
        _half_even(bucket["after"] * unit_price, unit_size) - _half_even(bucket["before"] * unit_price, unit_size)
        for bucket in steps
    )
    if quantity != line["quantity"]:
        raise Differs(f"{_name(line)}: its hours sum to {quantity}, and it says {line['quantity']}.")
    exact += export.tiers[line["position"]]
    if exact != _nano(line["exact"]):
        raise Differs(f"{_name(line)}: its hours cost {_dollars(exact)}, and it says {line['exact']}.")
    return exact


def _check_commitments(export: Export) -> None:
    """What is billed as not used is what was committed to, less what was used in the term and billed so before."""
    billed = {line["contract"]: line for line in export.lines if line.get("contract")}
    for one in export.invoice.get("commitments", ()):
        starts, ends = _instant(one["starts_at"]), _instant(one["ends_at"])
        drawn = _nano(one["drawn"])
        drawn += sum(_nano(line["exact"]) for line in export.usage if starts <= _instant(line["month"]) < ends)
        missing = max(_nano(one["amount"]) - drawn, 0) - _nano(one["booked"])
        line = billed.pop(one["contract"], None)
        said = "0" if line is None else line["exact"]
        if missing != _nano(said) or ends > _instant(export.invoice["period_end"]):
            where = f"What was not used of {one['contract']}" if line is None else _name(line)
            raise Differs(f"{where}: {_dollars(missing)} of {one['amount']} are to be billed, and it says {said}.")
    for line in billed.values():
        raise Differs(f"{_name(line)}: the invoice knows no commitment of {line['contract']}.")


def _check_cents(export: Export, exact: list[int]) -> None:
    total = _half_even(sum(exact), CENT)
    if total != _cents(export.invoice["total"]):
        raise Differs(f"The total is {_usd(total)}, and the invoice says {export.invoice['total']}.")
    for line, cents in zip(export.lines, _spread(total, exact), strict=True):
        if cents != _cents(line["amount"]):
            raise Differs(f"{_name(line)}: its share of the total is {_usd(cents)}, and it says {line['amount']}.")


def _check_parts(export: Export) -> None:
    found = _waterfall(export)
    for line in export.lines:
        said = {(part["payer"], part["grant"]): _cents(part["amount"]) for part in line["parts"]}
        mine = {
            (payer, grant): cents
            for (position, payer, grant), cents in found.items()
            if position == line["position"] and cents
        }
        if said != mine:
            raise Differs(f"{_name(line)}: it is paid by {_paid(mine)}, and it says {_paid(said)}.")


def _waterfall(export: Export) -> dict[tuple[int, str, str], int]:
    """Share every line out over who pays: cents by line, payer and grant."""
    order = sorted(export.invoice["grants"], key=_burns)
    pieces: list[list[Any]] = []  # line, grants that may pay, cents left
    paid: defaultdict[tuple[int, str, str], int] = defaultdict(int)
    for line in export.lines:
        if line.get("contract"):
            # Owed by contract; what is given back of it pays for other lines.
            if _cents(line["amount"]) < 0:
                pieces.append([line["position"], (), _cents(line["amount"])])
            else:
                paid[line["position"], "owed", ""] += _cents(line["amount"])
            continue
        groups = _groups(export, line, order)
        keys = list(groups)
        shared = _spread(_cents(line["amount"]), [groups[key] for key in keys])
        pieces += [[line["position"], key, cents] for key, cents in zip(keys, shared, strict=True)]
    pot = 0
    for piece in pieces:
        if piece[2] < 0:
            paid[piece[0], "set_off", ""] += piece[2]
            pot, piece[2] = pot - piece[2], 0
    sources = [("set_off", "", pot), ("house", "", max(_nano(export.invoice["overrun"]), 0) // CENT)]
    sources += [("credit", grant["grant"], max(_nano(grant["balance"]), 0) // CENT) for grant in order]
    sources.append(("owed" if export.invoice["may_owe"] else "house", "", sum(piece[2] for piece in pieces)))
    for payer, name, most in sources:
        left = most
        for piece in pieces:
            taken = min(piece[2], left) if payer != "credit" or name in piece[1] else 0
            paid[piece[0], payer, name] += taken
            piece[2], left = piece[2] - taken, left - taken
    return paid


def _groups(export: Export, line: Record, order: list[Record]) -> dict[tuple[str, ...], int]:
    """Return what the hours of a line cost that the same grants may pay, those with most grants first."""
    groups: defaultdict[tuple[str, ...], int] = defaultdict(int)
    price = export.prices[line["price"]]
    unit_price, unit_size = _nano(price["unit_price"]), int(price["unit_size"])
    for bucket in export.steps[line["position"]]:
        may = tuple(grant["grant"] for grant in order if _covers(grant, line, _instant(bucket["hour"])))
        after, before = (_half_even(bucket[name] * unit_price, unit_size) for name in ("after", "before"))
        groups[may] += after - before
    keys = sorted(groups, key=lambda may: (-len(may), may))
    if change := export.tiers[line["position"]]:
        weights = [max(groups[key], 0) for key in keys]
        if not any(weights):
            # Nothing was charged that tiers could change: they change what the end of the month costs.
            last = tuple(grant["grant"] for grant in order if _covers(grant, line, _last_hour(line)))
            keys = keys if last in groups else [*keys, last]
            weights = [int(key == last) for key in keys]
        for key, nano in zip(keys, _apportion(change, weights), strict=True):
            groups[key] += nano
    return {key: groups[key] for key in keys}


def _burns(grant: Record) -> tuple[Any, ...]:
    return (
        grant["priority"],
        grant["expires_at"] is None,
        grant["expires_at"] and _instant(grant["expires_at"]),
        grant["is_bought"],
        grant["effective_at"] is not None,
        grant["effective_at"] and _instant(grant["effective_at"]),
        grant["grant"],
    )


def _covers(grant: Record, line: Record, hour: datetime) -> bool:
    return (
        (grant["effective_at"] is None or hour + HOUR > _instant(grant["effective_at"]))
        and (grant["expires_at"] is None or hour < _instant(grant["expires_at"]))
        and (not grant["products"] or line["product"] in grant["products"])
        and (not grant["projects"] or line["project"] in grant["projects"])
    )


def _check_sums(export: Export) -> None:
    invoice = export.invoice
    sums: defaultdict[str, int] = defaultdict(int)
    for line in export.lines:
        for part in line["parts"]:
            sums[part["payer"]] += _cents(part["amount"])
    tax = _half_even(sums["owed"] * invoice["tax_rate_millionths"], MILLION)
    computed = {
        "credit": sums["credit"],
        "house": sums["house"],
        "owed": sums["owed"],
        "tax": tax,
        "due": sums["owed"] + tax,
    }
    for name, cents in computed.items():
        if cents != _cents(invoice[name]):
            raise Differs(f"What is {name} comes to {_usd(cents)}, and the invoice says {invoice[name]}.")


def _spread(total: int, exact: list[int]) -> list[int]:
    """Share whole cents out over exact amounts by largest remainder, the earlier one in a tie."""
    cents = [amount // CENT for amount in exact]
    for i in sorted(range(len(exact)), key=lambda i: (-(exact[i] % CENT), i))[: total - sum(cents)]:
        cents[i] += 1
    return cents


def _half_even(numerator: int, denominator: int) -> int:
    whole, rest = divmod(numerator, denominator)
    return whole + (2 * rest > denominator or (2 * rest == denominator and whole % 2 == 1))


def _nano(dollars: str) -> int:
    return int(Decimal(dollars).scaleb(9))


def _cents(dollars: str) -> int:
    return int(Decimal(dollars).scaleb(2))


def _dollars(nano: int) -> str:
    return f"{Decimal(nano).scaleb(-9):f}"


def _usd(cents: int) -> str:
    return f"{Decimal(cents).scaleb(-2):f}"


def _paid(parts: dict[tuple[str, str], int]) -> str:
    return ", ".join(f"{grant or payer} {_usd(cents)}" for (payer, grant), cents in sorted(parts.items())) or "nobody"


def _name(line: Record) -> str:
    if line.get("contract"):
        return f"Line {line['position']} (not used of {line['contract']})"
    return f"Line {line['position']} ({line['sku']}, project {line['project']}, {line['month'][:7]})"


def _name_use(use: Record) -> str:
    return f"What was used of {use['sku']} at {use['price']} in {use['month'][:7]}"


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _hour(text: str | None) -> datetime | None:
    return None if text is None else _instant(text)


def _last_hour(line: Record) -> datetime:
    month = _instant(line["month"])
    return (month.replace(day=1) + timedelta(days=32)).replace(day=1) - HOUR


def read_lines(path: Path) -> Iterator[Record]:
    """Yield the records of a file of JSON lines. Raises Differs for a line that is none."""
    with path.open(encoding="utf-8") as file:
        for number, text in enumerate(file, start=1):
            try:
                record = json.loads(text)
                record["record"]
            except (ValueError, TypeError, KeyError) as error:
                raise Differs(f"Line {number} of the file is no record of an export.") from error
            yield record


def read_rate_card(paths: Iterable[Path]) -> dict[str, Record]:
    """Return prices by id, from the public rate card or from saved answers of GET /api/v1/prices.

    Raises ValueError for a file that is neither.
    """
    rows: list[Record] = []
    for path in paths:
        saved = json.loads(path.read_text(encoding="utf-8"))
        listed = saved.get("prices", saved.get("data")) if isinstance(saved, dict) else None
        if not isinstance(listed, list):
            raise ValueError(f"{path} is no rate card")
        rows += listed
    return {row["price_version"]: row | {"unit_price": row["price"]} for row in rows}


def main(arguments: list[str] | None = None) -> int:
    """Print what came of it; return 0 where everything does come out, 1 where not, 2 for files that are none."""
    parser = argparse.ArgumentParser(prog="verify-invoice", description="Compute an invoice again from its export.")
    parser.add_argument("export", type=Path, help="the invoice's JSONL file")
    parser.add_argument("--prices", type=Path, nargs="+", help="the public rate card, /pricing/rate-card.json")
    given = parser.parse_args(arguments)
    try:
        rate_card = None if given.prices is None else read_rate_card(given.prices)
        export = Export(read_lines(given.export))
        remarks = verify(export, rate_card)
    except Differs as difference:
        sys.stdout.write(f"DIFFERS: {difference}\n")
        return 1
    except (OSError, ValueError, KeyError, TypeError, ArithmeticError) as error:
        sys.stderr.write(f"The files cannot be read: {type(error).__name__} {error}\n")
        return 2
    for remark in remarks:
        sys.stdout.write(f"note: {remark}\n")
    invoice = export.invoice
    sys.stdout.write(
        f"{invoice['number']} comes out: {len(export.events)} events, {len(export.lines)} lines,"
        f" total {invoice['total']}, due {invoice['due']} USD\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
