"""Two organizations in which everything happened, and in every text of each a word that only its own people may read.

The columns come from the database: a new one is planted without a line here, or says in KEPT why it cannot be.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from allauth.account.models import EmailAddress
from django.apps import apps
from django.db import connection
from django.db.models import Field

from accounts.models import Membership, Organization, Role, Scope, User
from billing.models import SpendCap
from tests.filling import fill
from tests.furnishing import LONG_NAME, furnish
from tests.routes import ROUTES, Route
from tests.support import as_served
from tests.visits import Scene, make_scene
from tests.world import NOW, World

WORDS = ("kestrel", "wagtail")
# Column, of one table or of any, -> why it holds no word. What is unlike in both is searched for as it is.
KEPT: dict[str, str] = {
    "public_id": "made by the portal",
    "price_id": "names a price of the catalog",
    "sku": "names a thing of the catalog",
    "last_four": "four characters are nobody's own",
    "accounts_auditevent.actor_id": "a public id; entries cannot be changed",
    "accounts_auditevent.impersonator_id": "a public id; entries cannot be changed",
    "accounts_auditevent.origin_id": "a public id; entries cannot be changed",
    "accounts_auditevent.target_id": "a public id; entries cannot be changed",
    "accounts_auditevent.target_kind": "a word of the code",
    "accounts_auditevent.action": "a word of the code",
    "accounts_auditorigin.actor_id": "a public id",
    "accounts_notice.subject_id": "a public id",
    "accounts_organizationterms.regions": "names of the catalog; terms are never edited",
    "accounts_ssoconnection.certificates": "are read as certificates",
    "accounts_ssoconnection.sign_in_url": "only SAML has one, and these are of OpenID Connect",
    "billing_banktransfer.recorded_by": "a public id; what is confirmed cannot be changed",
    "billing_banktransfer.confirmed_by": "a public id; what is confirmed cannot be changed",
    "billing_banktransfer.taken_back_by": "a public id",
    "billing_banktransfer.disputed_by": "a public id",
    "billing_billingdetails.country": "a code of ISO 3166",
    "billing_contractprice.tier_mode": "a word of the code",
    "billing_contractprice.tiers": "numbers; prices of a contract cannot be changed",
    "billing_pricenotice.list_price_id": "names a price of the catalog",
    "billing_dispute.answered_by": "a public id of staff, whom no customer is told",
    "billing_dispute.mailed_state": "a word of the code",
    "billing_refund.asked_by": "a public id, which customers are not told",
    "billing_refund.decided_by": "a public id of staff, whom no customer is told",
    "billing_spendanomaly.findings": "words of the price list and amounts",
    "billing_spendcap.period": "a word of the code",
    "billing_standing.approved_by": "a public id of staff",
    "billing_standing.before_dispute": "a word of the code",
    "billing_usagefate.decided_by": "a public id of staff, whom no customer is told",
    "billing_creditnote.number": "made by the portal; what is issued cannot be changed",
    "billing_creditnote.positions": "numbers",
    "billing_creditnote.proposed_by": "a public id; what is issued cannot be changed",
    "billing_creditnote.decided_by": "a public id; what is issued cannot be changed",
    "billing_givenupdebt.proposed_by": "a public id",
    "billing_givenupdebt.decided_by": "a public id, and empty until somebody decides",
    "billing_goodwill.proposed_by": "a public id",
    "billing_goodwill.decided_by": "a public id, and empty until somebody decides",
    "billing_creditgrant.products": "words of the price list",
    "billing_invoice.grants": "public ids and amounts; what is issued cannot be changed",
    "billing_invoice.tiered": "public ids and quantities; what is issued cannot be changed",
    "billing_invoice.commitments": "public ids and amounts; what is issued cannot be changed",
    "billing_invoice.terms": "as they were at the issue; what is issued cannot be changed",
    "billing_invoice.number": "made by the portal; what is issued cannot be changed",
    "billing_invoice.tax_treatment": "a word of the code",
    "billing_invoice.tax_legend": "a sentence of the code; what is issued cannot be changed",
    "billing_invoicefile.digest": "a digest",
    "billing_invoicefile.name": "public ids",
    "billing_invoiceline.parts": "public ids and amounts; what is issued cannot be changed",
    "billing_invoiceline.product": "a word of the price list",
    "billing_ledgeraccount.currency": "a word of the code",
    "billing_ledgeraccount.product": "a word of the price list",
    "billing_ledgerentry.journal_id": "made by the portal; entries cannot be changed",
    "billing_ledgerentry.source": "a public id; entries cannot be changed",
    "billing_ledgerentry.code": "a word of the code",
    "inference_idempotencyclaim.request_id": "a public id",
    "inference_receipt.request_id": "a public id",
    "inference_receipt.cached_input_price_id": "names a price of the catalog",
    "inference_receipt.input_price_id": "names a price of the catalog",
    "inference_receipt.output_price_id": "names a price of the catalog",
}
# Of the log, reports of usage and published contracts: written when it happens, where tests/filling.py says the word.
WRITTEN = {
    "accounts_auditevent.changes",
    "accounts_auditevent.request_id",
    "billing_banktransfer.payer",
    "billing_banktransfer.reference",
    "billing_banktransfer.statement_line",
    "billing_contract.name",
    "billing_costtags.tags",
    "billing_creditnote.reason",
    "billing_usagefate.content",
}
# Shape of the word where a plain one would not be read back.
SHAPES: dict[str, str] = {
    "email": "{mark}-{row}@example.com",
    "user_name": "{mark}-{row}@example.com",
    "url": "https://{mark}-{row}.example/",
    "issuer": "https://{mark}-{row}.example/",
    "host": "{mark}-{row}.example",
    "accounts_domain.name": "{mark}-{row}.example",
}
# Rows in which a column may be anything; in the others it names something.
ONLY_WHERE = {"billing_spendbycause.cause_id": "t.cause = 'resource'"}
PUBLIC_ID = re.compile(r"\b[a-z]{2,12}_[0-9A-Za-z]{20,}\b")


@dataclass(frozen=True)
class Column:
    """A column of text. number: what its mark ends with."""

    table: str
    name: str
    is_array: bool
    longest: int | None
    number: int

    def __str__(self) -> str:
        return f"{self.table}.{self.name}"

    @property
    def why_kept(self) -> str:
        if _choices_of(self.table, self.name):
            return "one of the choices in the code"
        return KEPT.get(str(self)) or KEPT.get(self.name, "")

    def mark(self, word: str) -> str:
        return f"{word}{self.number:03d}"

    def sql(self, word: str) -> str:
        """Return SQL of the value for the row `n.row`."""
        shape = SHAPES.get(str(self)) or SHAPES.get(self.name, "{mark}-{row}")
        if self.is_array:
            return f"ARRAY['{self.mark(word)}']"
        if self.longest is not None and self.longest < len(self.mark(word)) + 5:
            return f"'{self.mark(word)}'"
        before, _, behind = shape.format(mark=self.mark(word), row="|").partition("|")
        return f"'{before}' || n.row || '{behind}'"


def _choices_of(table: str, column: str) -> Any:
    for model in apps.get_models():
        if model._meta.db_table == table:
            for each in model._meta.get_fields():
                if isinstance(each, Field) and each.column == column:
                    return each.choices or getattr(getattr(each, "base_field", None), "choices", None)
    return None


def text_columns() -> list[Column]:
    """Return every column of text of every table whose rows belong to an organization, and of organizations."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.relname, a.attname, y.typcategory = 'A', NULLIF(a.atttypmod, -1) - 4"
            " FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
            " JOIN pg_type y ON y.oid = a.atttypid LEFT JOIN pg_type e ON e.oid = y.typelem"
            " WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition"
            " AND (y.typcategory = 'S' OR y.typname IN ('json', 'jsonb', 'inet', 'cidr')"
            "      OR (y.typcategory = 'A' AND e.typcategory = 'S'))"
            " AND (c.relname = 'accounts_organization' OR EXISTS (SELECT FROM pg_attribute o"
            "      WHERE o.attrelid = c.oid AND o.attname = 'organization_id' AND NOT o.attisdropped))"
            " ORDER BY 1, 2"
        )
        rows = cursor.fetchall()
    return [Column(table, name, is_array, longest, at) for at, (table, name, is_array, longest) in enumerate(rows)]


def plant(organization: Organization, word: str, columns: list[Column]) -> None:
    """Write the word into every text of the organization and of its people."""
    of_table: dict[str, list[Column]] = defaultdict(list)
    for column in columns:
        if not column.why_kept and str(column) not in WRITTEN:
            of_table[column.table].append(column)
    with connection.cursor() as cursor:
        for table, there in of_table.items():
            whose = "id" if table == "accounts_organization" else "organization_id"
            values = ", ".join(
                f'"{column.name}" = CASE WHEN {ONLY_WHERE.get(str(column), "true")}'
                f' THEN {column.sql(word)} ELSE t."{column.name}" END'
                for column in there
            )
            cursor.execute(
                f"UPDATE {table} t SET {values} FROM (SELECT tableoid AS part, ctid AS place, row_number() OVER () AS"
                f" row FROM {table} WHERE {whose} = %s) n WHERE t.tableoid = n.part AND t.ctid = n.place",
                [organization.pk],
            )
    organization.refresh_from_db()
    for user in User.objects.filter(memberships__organization=organization):
        assert user.memberships.count() == 1, "who is in both may read both"
        user.full_name, user.email = f"{word} person {user.pk}", f"{word}-person-{user.pk}@example.com"
        user.save(update_fields=["full_name", "email"])
        EmailAddress.objects.filter(user=user).update(email=user.email)


def words_in(column: Column, organization: Organization, word: str) -> bool:
    """Whether a row of the organization has the word there."""
    whose = "id" if column.table == "accounts_organization" else "organization_id"
    with connection.cursor() as cursor:
        cursor.execute(
            f'SELECT EXISTS (SELECT FROM {column.table} WHERE {whose} = %s AND "{column.name}"::text LIKE %s)',
            [organization.pk, f"%{word}%"],
        )
        return bool(cursor.fetchone()[0])


@dataclass
class Side:
    """One of both, as it sees itself: its scene has the other as theirs."""

    scene: Scene
    word: str
    ids: set[str]

    @property
    def organization(self) -> Organization:
        return self.scene.world.ours

    @property
    def owner(self) -> User:
        return self.organization.memberships.filter(role=Role.OWNER).order_by("pk")[0].user

    def secret_for(self, route: Route) -> str:
        who = route.rule.who
        world = self.scene.world
        if isinstance(who, Scope):
            return world.secret(self.organization, who)
        if route.pattern.startswith("scim/"):
            return world.directory_secret(self.organization)
        return world.secret(self.organization, Scope.USAGE_READ)


@dataclass
class Aviary:
    """Both, and what was seen of their words. found: number of a column -> where its own people read it."""

    sides: tuple[Side, Side]
    columns: list[Column]
    found: dict[int, set[str]] = field(default_factory=lambda: defaultdict(set))
    places: set[str] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)

    def forget(self) -> None:
        self.found.clear()
        self.places.clear()
        self.wrong.clear()

    def look(self, side: Side, text: str, where: str) -> bool:
        """Note which of its own words a side read there, and which of the other's it should not have.

        Return whether there were any of its own.
        """
        [other] = [each for each in self.sides if each is not side]
        if marks := re.findall(rf"(?i){side.word}(\d\d\d)?", text):
            self.places.add(where)
            for mark in filter(None, marks):
                self.found[int(mark)].add(where)
        for foreign in re.finditer(rf"(?i)\S{{0,40}}{other.word}(\d\d\d)?", text):
            number = foreign[1]
            column = f" ({self.columns[int(number)]})" if number else ""
            self.wrong.append(f"{where} of {side.word}: {foreign[0]}{column}")
        for foreign_id in set(PUBLIC_ID.findall(text)) & other.ids:
            self.wrong.append(f"{where} of {side.word}: {foreign_id}")
        return bool(marks)


def make_aviary(world: World) -> Aviary:
    """Let everything happen in both organizations, and plant a word in each."""
    columns = text_columns()
    scene = make_scene(world)
    mirrored = World(
        ours=world.theirs,
        theirs=world.ours,
        members={Role.OWNER: world.stranger},
        stranger=world.members[Role.OWNER],
        objects=world.foreign_objects,
        foreign_objects=world.objects,
    )
    # Both have a member with that address, which is one person's.
    User.objects.filter(email=f"{LONG_NAME}@example.com").update(email=f"first-{LONG_NAME}@example.com")
    theirs = Scene(mirrored, scene.empty, furnish(mirrored.ours, NOW), scene.public_objects)
    sides = []
    for each, word in zip((scene, theirs), WORDS, strict=True):
        organization = each.world.ours
        SpendCap.objects.of_organization(organization.pk).update(limit_nano=10**15)
        fill(organization, organization.memberships.filter(role=Role.OWNER).order_by("pk")[0].user, word)
        _keep_an_answer(each.world)
        plant(organization, word, columns)
        sides.append(Side(each, word, set(ids_of(organization))))
    return Aviary((sides[0], sides[1]), columns)


def _keep_an_answer(world: World) -> None:
    """Let a program create something that it may ask for again."""
    route = next(route for route in ROUTES if route.name == "accounts:api-key-list")
    secret = world.secret(world.ours, Scope.KEYS_WRITE)
    answer = world.client(None).post(
        route.address("", {}),
        json.dumps({"name": "robot", "scopes": ["inference"]}),
        content_type="application/json",
        headers={"Authorization": f"Bearer {secret}", "Idempotency-Key": "the-same-in-both"},
    )
    assert answer.status_code < 300, answer.content


def ids_of(organization: Organization) -> Iterator[str]:
    """Yield every public id that a row of the organization holds, and those of its people; none of another."""
    with connection.cursor() as cursor:
        for table in {column.table for column in text_columns()}:
            whose = "id" if table == "accounts_organization" else "organization_id"
            cursor.execute(f"SELECT to_jsonb(t)::text FROM {table} t WHERE {whose} = %s", [organization.pk])
            for (row,) in cursor.fetchall():
                yield from (found for found in PUBLIC_ID.findall(row) if not found.startswith("price_"))
    members = Membership.objects.filter(organization=organization)
    yield from members.values_list("user__public_id", flat=True)


def text_of(answer: Any) -> str:
    """Return a whole answer, headers too, streamed as the role that serves."""
    body = answer.content if not answer.streaming else b""
    if answer.streaming:
        with as_served():
            body = b"".join(answer.streaming_content)
    headers = "\n".join(f"{name}: {value}" for name, value in answer.items())
    return f"{body.decode(errors='replace')}\n{headers}"
