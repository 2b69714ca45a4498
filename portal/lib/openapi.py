"""The OpenAPI 3.1 document of the REST API, from what its views say of themselves.

Answers are frozen dataclasses, whose schemas msgspec makes; bodies and queries are REST framework's serializers.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from inspect import getdoc
from typing import Any

import msgspec
from django.urls import URLPattern
from django.urls.converters import get_converters
from rest_framework import serializers
from rest_framework.views import APIView

from portal.lib.api import PROBLEM, LambdaError, Problem

METHODS = ("get", "post", "put", "patch", "delete")
REFERENCE = "#/components/schemas/{name}"
# REST framework's field -> the type of JSON that it takes; the first that fits counts.
TYPES: tuple[tuple[type[serializers.Field[Any, Any, Any, Any]], str], ...] = (
    (serializers.BooleanField, "boolean"),
    (serializers.IntegerField, "integer"),
    (serializers.CharField, "string"),
    (serializers.DateTimeField, "string"),
)
CONVERTER = re.compile(r"<(\w+):(\w+)>")


@dataclass(frozen=True, slots=True)
class Described:
    """What one method of a view takes and answers."""

    answer: Any
    status: int
    body: type[serializers.BaseSerializer[Any]] | Mapping[str, Any] | None
    query: type[serializers.BaseSerializer[Any]] | None
    text: str


def described[**P, R](
    answer: Any,
    *,
    status: int = 200,
    body: type[serializers.BaseSerializer[Any]] | Mapping[str, Any] | None = None,
    query: type[serializers.BaseSerializer[Any]] | None = None,
    text: str = "",
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Say what a method of a view answers, for the document; outermost, on every method of every view.

    answer: the dataclass of a successful answer. body, query: the serializer that reads them; a body that msgspec
    decodes is its type by content type. text: one sentence, where the docstring of the view does not say it.
    """

    def mark(method: Callable[P, R]) -> Callable[P, R]:
        method.described = Described(answer, status, body, query, text)  # type: ignore[attr-defined]  # read below
        return method

    return mark


def document(patterns: Iterable[tuple[str, URLPattern]], *, title: str, server: str) -> dict[str, Any]:
    """Return the document of the views at these addresses, in their order.

    patterns: each with the whole pattern of its address. Views that describe nothing are left out.
    """
    found = [(path, view, pattern) for path, pattern in patterns if (view := _view_of(pattern))]
    answers = [each.answer for _, view, _ in found for _, each in _methods(view)]
    bodies = [kind for _, view, _ in found for _, each in _methods(view) for kind in _decoded(each).values()]
    types = list({repr(answer): answer for answer in [*answers, *bodies, Problem, LambdaError]}.values())
    schemas, components = msgspec.json.schema_components(types, ref_template=REFERENCE)
    names = {name: _plain(schema["title"]) for name, schema in components.items()}
    schema_of = {repr(answer): _renamed(schema, names) for answer, schema in zip(types, schemas, strict=True)}
    paths = {
        "/" + CONVERTER.sub(r"{\2}", path): {
            method: _operation(path, view, method, each, schema_of) for method, each in _methods(view)
        }
        for path, view, _ in found
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": "1", "description": "Money is decimal strings, times are RFC 3339 in UTC."},
        "servers": [{"url": server}],
        "paths": paths,
        "components": {
            "schemas": {
                names[name]: _renamed(schema, names) | {"title": names[name]} for name, schema in components.items()
            },
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "An API key."}},
        },
    }


def _decoded(each: Described) -> Mapping[str, Any]:
    """Return the types of a body that msgspec decodes, by content type."""
    return each.body if isinstance(each.body, Mapping) else {}


def _view_of(pattern: URLPattern) -> type[APIView] | None:
    view = getattr(pattern.callback, "view_class", None) or getattr(pattern.callback, "cls", None)
    return view if isinstance(view, type) and issubclass(view, APIView) and list(_methods(view)) else None


def _methods(view: type[APIView]) -> list[tuple[str, Described]]:
    found = ((method, getattr(getattr(view, method, None), "described", None)) for method in METHODS)
    return [(method, each) for method, each in found if each is not None]


def _operation(
    path: str, view: type[APIView], method: str, each: Described, schema_of: Mapping[str, Any]
) -> dict[str, Any]:
    name = re.sub(r"\W+", "_", CONVERTER.sub(r"\2", path)).strip("_")
    error = LambdaError if getattr(view, "errors", "") == "lambda" else Problem
    kind = PROBLEM if error is Problem else "application/json"
    operation: dict[str, Any] = {
        "operationId": f"{method}_{name}",
        "summary": each.text or (getdoc(view) or "").splitlines()[0] if view.__doc__ or each.text else name,
        "responses": {
            str(each.status): _content("application/json", schema_of[repr(each.answer)], "Success"),
            "4XX": _content(kind, schema_of[repr(error)], "Refusal"),
        },
    }
    parameters: list[dict[str, Any]] = [
        {"name": part, "in": "path", "required": True, "schema": _in_path(converter)}
        for converter, part in CONVERTER.findall(path)
    ]
    if each.query is not None:
        parameters += [
            {"name": field, "in": "query", "required": schema.required, "schema": _in_query(schema.json)}
            for field, schema in _fields(each.query())
        ]
    if parameters:
        operation["parameters"] = parameters
    if kinds := _decoded(each):
        content = {kind: {"schema": schema_of[repr(body)]} for kind, body in kinds.items()}
        operation["requestBody"] = {"required": True, "content": content}
    elif each.body is not None and not isinstance(each.body, Mapping):
        body = _body(each.body())
        operation["requestBody"] = {"required": bool(body.get("required")), **_content("application/json", body)}
    if hasattr(view, "scope"):
        operation["security"] = [{"key": []}]
        scope = view.scope
        key = getattr(view, "key_words", "a key")
        operation["description"] = f"Needs {key} with the scope `{scope}`." if scope else "Any key will do."
    return operation


def _in_path(converter: str) -> dict[str, Any]:
    """Return the schema of a part of the address; a converter that knows all its words says them as `words`."""
    words = getattr(get_converters()[converter], "words", None)
    return {"type": "string", "enum": list(words)} if words else {"type": "string", "minLength": 1}


def _in_query(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a query's parameter: there an empty value is as good as none, and never too short."""
    return {name: value for name, value in schema.items() if name != "minLength"}


def _content(kind: str, schema: Mapping[str, Any], description: str = "") -> dict[str, Any]:
    content = {"content": {kind: {"schema": schema}}}
    return {"description": description, **content} if description else content


@dataclass(frozen=True, slots=True)
class _FieldSchema:
    json: dict[str, Any]
    required: bool


def _fields(serializer: Any) -> Sequence[tuple[str, _FieldSchema]]:
    return [(name, _FieldSchema(_field(field), field.required)) for name, field in serializer.fields.items()]


def _body(serializer: Any) -> dict[str, Any]:
    fields = _fields(serializer)
    return {
        "type": "object",
        "properties": {name: schema.json for name, schema in fields},
        "required": [name for name, schema in fields if schema.required],
    }


def _field(field: Any) -> dict[str, Any]:
    if isinstance(field, serializers.BaseSerializer):
        schema = _body(field)
    elif isinstance(field, serializers.MultipleChoiceField):
        schema = {"type": "array", "items": {"enum": list(field.choices)}, "minItems": int(not field.allow_empty)}
    elif isinstance(field, serializers.ChoiceField):
        schema = {"enum": list(field.choices)}
    elif isinstance(field, serializers.ListField):
        limits = {"minItems": field.min_length, "maxItems": field.max_length}
        schema = {"type": "array", "items": _field(field.child), **_given(limits)}
    else:
        schema = _plain_field(field)
    if field.help_text:
        schema["description"] = str(field.help_text)
    return {"anyOf": [schema, {"type": "null"}]} if field.allow_null else schema


def _plain_field(field: Any) -> dict[str, Any]:
    name = next(name for kind, name in TYPES if isinstance(field, kind))
    limits = (
        {"minimum": field.min_value, "maximum": field.max_value}
        if name == "integer"
        else {"maxLength": getattr(field, "max_length", None), "minLength": _shortest(field)}
    )
    return {"type": name, **_given(limits)}


def _shortest(field: Any) -> int | None:
    return 1 if isinstance(field, serializers.CharField) and not field.allow_blank else None


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _plain(title: str) -> str:
    """Return a component's name: that of its type, without modules and brackets."""
    return re.sub(r"\W+", "_", re.sub(r"(\w+\.)+", "", title)).strip("_")


def _renamed(schema: Any, names: Mapping[str, str]) -> Any:
    """Return the schema with references to the names that components have in the document."""
    if isinstance(schema, Mapping):
        return {
            key: REFERENCE.format(name=names[value.rpartition("/")[2]]) if key == "$ref" else _renamed(value, names)
            for key, value in schema.items()
        }
    return [_renamed(each, names) for each in schema] if isinstance(schema, list) else schema
