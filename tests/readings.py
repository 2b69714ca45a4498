"""Which fields a request is read by: what views ask of the query, the form and the JSON body, noted as they ask.

Nobody has to list the fields of a new form: the request itself tells who looked for what in it.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
from django import forms
from django.core.handlers.wsgi import WSGIRequest
from django.http import QueryDict
from django.utils.functional import cached_property
from rest_framework import serializers

type Place = Literal["query", "form", "json"]


@dataclass
class Readings:
    """What was asked for while requests were watched. fields: where and by which name; many: those of several values.

    classes: the forms and serializers that did the reading.
    """

    fields: set[tuple[Place, str]] = field(default_factory=set)
    many: set[tuple[Place, str]] = field(default_factory=set)
    classes: set[type] = field(default_factory=set)


class _Copied(dict[str, Any]):
    """A plain dictionary of a query, still watched: a form may be bound to one."""

    place: Place
    into: Readings

    def __getitem__(self, name: str) -> Any:
        self.into.fields.add((self.place, name))
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self.into.fields.add((self.place, name))
        return super().get(name, default)

    def __ror__(self, other: Mapping[str, Any]) -> "_Copied":  # type: ignore[override]  # stays what it is
        return _copied({**other, **self}, self.place, self.into)


def _copied(values: Mapping[str, Any], place: Place, into: Readings) -> _Copied:
    copy = _Copied(values)
    copy.place, copy.into = place, into
    return copy


class _Watched(QueryDict):
    place: Place
    into: Readings | None = None

    def _note(self, name: Any) -> None:
        if self.into is not None and isinstance(name, str):
            self.into.fields.add((self.place, name))

    def __getitem__(self, name: str) -> Any:
        self._note(name)
        return super().__getitem__(name)

    def __contains__(self, name: object) -> bool:
        self._note(name)
        return super().__contains__(name)

    def getlist(self, name: str, default: Any = None) -> Any:
        self._note(name)
        if self.into is not None:
            self.into.many.add((self.place, name))
        return super().getlist(name, default)

    def dict(self) -> Any:
        values = super().dict()
        return values if self.into is None else _copied(values, self.place, self.into)


def _watched(values: QueryDict, place: Place, into: Readings) -> QueryDict:
    watched = _Watched(mutable=True)
    for name, given in values.lists():
        watched.setlist(name, given)
    watched._mutable = False
    watched.place, watched.into = place, into
    return watched


@contextmanager
def watched() -> Iterator[Readings]:
    """Note what requests of this thread are asked for; nothing about how they are answered changes."""
    readings = Readings()
    query, load = WSGIRequest.GET.func, WSGIRequest._load_post_and_files  # type: ignore[attr-defined]
    make_form, validate = forms.BaseForm.__init__, serializers.Serializer.run_validation

    def load_watched(request: Any) -> None:
        load(request)
        request._post = _watched(request._post, "form", readings)

    def make_form_watched(form: Any, *args: Any, **kwargs: Any) -> None:
        readings.classes.add(type(form))
        make_form(form, *args, **kwargs)

    def validate_watched(serializer: Any, data: Any = serializers.empty) -> Any:
        readings.classes.add(type(serializer))
        if not isinstance(data, QueryDict) and serializer.parent is None:
            _note_serializer(serializer, "", readings)
        return validate(serializer, data)

    with pytest.MonkeyPatch.context() as patch:
        watched_query = cached_property(lambda request: _watched(query(request), "query", readings))
        watched_query.__set_name__(WSGIRequest, "GET")
        patch.setattr(WSGIRequest, "GET", watched_query)
        patch.setattr(WSGIRequest, "_load_post_and_files", load_watched)
        patch.setattr(forms.BaseForm, "__init__", make_form_watched)
        patch.setattr(serializers.Serializer, "run_validation", validate_watched)
        yield readings


def _note_serializer(serializer: Any, path: str, into: Readings) -> None:
    into.classes.add(type(serializer))
    for name, each in serializer.fields.items():
        if isinstance(each, serializers.Serializer):
            _note_serializer(each, f"{path}{name}.", into)
        else:
            into.fields.add(("json", path + name))
            if isinstance(each, serializers.ListField | serializers.MultipleChoiceField):
                into.many.add(("json", path + name))
