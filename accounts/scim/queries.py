"""Lists as SCIM asks for them: filtered, cut into pages that are named by number, with chosen attributes.

What a filter can say of a column is asked of the database; the rest is matched here, row by row.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import Model, Q, QuerySet
from scim2_models import Context, ListResponse, Resource, ResponseParameters, SearchRequest
from scim2_models.path import CompareOperator, Comparison, FilterNode, LogicalExpr, LogicalOperator

from accounts.scim.resources import MAXIMUM_RESULTS

PARAMETERS = ("filter", "attributes", "excludedAttributes", "startIndex", "count")
# Beyond every list; what lies further than this is as empty.
FURTHEST = 1_000_000


@dataclass(frozen=True, slots=True)
class Listing[Row: Model]:
    """A kind of resource. columns: attribute in lower case -> what the database compares it by."""

    model: type[Resource[Any]]
    rows: QuerySet[Row]
    columns: Mapping[str, str]
    resource_of: Callable[[Row], Resource[Any]]


def in_address(query: Mapping[str, str]) -> dict[str, Any]:
    """Return what the address of a list asks for, as a body of /.search would say it."""
    return {name: query[name] for name in PARAMETERS if query.get(name)}


def listed[Row: Model](listing: Listing[Row], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the page that is asked for. Raises pydantic's ValidationError for what cannot be asked."""
    asked = SearchRequest[listing.model].model_validate(given)  # type: ignore[name-defined]  # made at run time
    start = asked.start_index or 1
    count = MAXIMUM_RESULTS if asked.count is None else min(asked.count, MAXIMUM_RESULTS)
    rows, is_whole = listing.rows, True
    filter_ = asked.filter
    if filter_ is not None:
        rows, is_whole = narrowed(rows, listing.columns, filter_.ast)
    first = min(start - 1, FURTHEST)
    page = slice(first, first + count)
    if filter_ is None or is_whole:
        total, resources = rows.count(), [listing.resource_of(row) for row in rows[page]] if count else []
    else:
        matching = [one for row in rows if filter_.match(one := listing.resource_of(row))]
        total, resources = len(matching), matching[page]
    response = ListResponse[listing.model](  # type: ignore[name-defined]  # made at run time
        total_results=total, start_index=start, items_per_page=len(resources), resources=resources
    )
    payload: dict[str, Any] = response.model_dump(scim_ctx=Context.RESOURCE_QUERY_RESPONSE, response_parameters=asked)
    return payload


def chosen(model: type[Resource[Any]], query: Mapping[str, str]) -> ResponseParameters[Any]:
    """Return which attributes a request wants in its answer."""
    return ResponseParameters[model].model_validate(  # type: ignore[valid-type]  # made at run time
        {name: query[name] for name in ("attributes", "excludedAttributes") if query.get(name)}
    )


def narrowed[Row: Model](
    rows: QuerySet[Row], columns: Mapping[str, str], node: FilterNode
) -> tuple[QuerySet[Row], bool]:
    """Return the rows that may match a filter, and whether every one of them does."""
    if isinstance(node, LogicalExpr) and node.op == LogicalOperator.and_:
        is_whole = True
        for term in node.terms:
            rows, is_term_whole = narrowed(rows, columns, term)
            is_whole = is_whole and is_term_whole
        return rows, is_whole
    if isinstance(node, Comparison) and node.op == CompareOperator.eq and isinstance(node.value, str):
        column = columns.get(str(node.attr_path).lower())
        if column is not None:
            # PostgreSQL refuses some of what is not printable, and no row has it.
            return (rows.filter(Q((column, node.value))) if node.value.isprintable() else rows.none()), True
    return rows, False
