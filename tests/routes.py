"""Every route of the portal, from the URL resolver, with its line of tests/policy.py."""

from collections.abc import Iterator
from dataclasses import dataclass

from django.urls import URLPattern, URLResolver, get_resolver, reverse

from tests.policy import ANYBODY, FAMILIES, POLICY, Rule
from tests.world import MISSING


@dataclass(frozen=True)
class Route:
    name: str
    pattern: str
    converters: dict[str, str]

    @property
    def rule(self) -> Rule:
        families = (rule for start, rule in FAMILIES.items() if self.name.startswith(start))
        # An unknown route fails below, by name, and must not keep the others from being tested.
        return POLICY.get(self.name) or next(families, ANYBODY)

    @property
    def is_of_organization(self) -> bool:
        return self.pattern.startswith("o/<slug:organization>/")

    @property
    def is_of_programs(self) -> bool:
        return self.pattern.startswith(("api/", "scim/"))

    def address(self, organization: str, objects: dict[str, str]) -> str:
        """Fill the address. objects: by word; what is not there is missing."""
        values = {"organization": organization} if self.is_of_organization else {}
        for part, converter in self.converters.items():
            if part != "organization":
                values[part] = objects.get(self.rule.objects.get(part, ""), MISSING[converter])
        return reverse(self.name, kwargs=values)


def walk(
    resolver: URLResolver, before: str = "", namespaces: tuple[str, ...] = (), parts: dict[str, str] | None = None
) -> Iterator[Route]:
    for entry in resolver.url_patterns:
        pattern = before + str(entry.pattern)
        converters = {
            **(parts or {}),
            **{
                part: type(converter).__name__.removesuffix("Converter").lower().replace("string", "str")
                for part, converter in entry.pattern.converters.items()
            },
        }
        if isinstance(entry, URLResolver):
            inside = (*namespaces, entry.namespace) if entry.namespace else namespaces
            yield from walk(entry, pattern, inside, converters)
        elif isinstance(entry, URLPattern):
            yield Route(":".join((*namespaces, entry.name or "?")), pattern, converters)


ROUTES = list(walk(get_resolver()))


def name_of(route: Route) -> str:
    return route.name
