"""The OpenAPI document: whole, public, and true of every view that programs reach."""

import json
import re

import pytest
import schemathesis.openapi
from django.test import Client
from django.urls import get_resolver, reverse

from portal.views.api_document import api_description
from tests.routes import ROUTES

# Routes of programs that the document leaves out, and why.
LEFT_OUT = {
    "accounts:api-leaked-keys": "is for secret scanners, which bring their own shape",
    "api-document": "is the document",
}
METHODS = ("get", "post", "put", "patch", "delete")


@pytest.mark.django_db
def test_anybody_may_read_it(client: Client):
    answer = client.get(reverse("api-document"))

    assert answer.status_code == 200
    assert answer["Content-Type"] == "application/json"
    assert json.loads(answer.content)["openapi"] == "3.1.0"


def test_every_method_of_every_view_is_in_it():
    described = {(path, method) for path, operations in api_description()["paths"].items() for method in operations}
    expected = set()
    for route in ROUTES:
        if route.pattern.startswith("api/") and route.name not in LEFT_OUT:
            path = "/" + re.sub(r"<\w+:(\w+)>", r"{\1}", route.pattern)
            view = get_resolver().resolve(route.address("", {})).func.view_class  # type: ignore[attr-defined]
            expected |= {(path, method) for method in METHODS if hasattr(view, method)}

    assert described == expected


def test_it_is_sound_and_names_each_operation_once():
    description = json.loads(json.dumps(api_description()))

    schemathesis.openapi.from_dict(description).validate()
    operations = [each for path in description["paths"].values() for each in path.values()]
    assert len({each["operationId"] for each in operations}) == len(operations) > 20
    assert all(each["summary"] for each in operations)


def test_it_says_what_a_field_may_hold():
    paths, schemas = api_description()["paths"], api_description()["components"]["schemas"]

    body = paths["/api/v1/keys"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body["required"] == ["name", "scopes"]
    assert body["properties"]["name"] == {"type": "string", "maxLength": 80, "minLength": 1}
    assert "inference" in body["properties"]["scopes"]["items"]["enum"]
    launch = paths["/api/v1/instance-operations/launch"]["post"]["requestBody"]["content"]["application/json"]
    assert launch["schema"]["properties"]["quantity"] == {"type": "integer", "minimum": 1, "maximum": 16}
    assert {"CursorList_KeyView", "Data_list_ImageOutput", "ImageOutput", "Problem", "LambdaError"} <= set(schemas)
    assert schemas["KeyView"]["properties"]["scopes"] == {"type": "array", "items": {"type": "string"}}
    assert paths["/api/v1/keys"]["get"]["security"] == [{"key": []}]
    assert "security" not in paths["/api/v1/prices"]["get"]
