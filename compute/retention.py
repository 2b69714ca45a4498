"""How long machines, and what is known of them, are kept."""

from accounts.retention import CLOSED, MADE_BY, ORGANIZATION, PROJECT
from portal.lib.retention import AfterClosing, Kept, Part, Personal, Table, Whose, name_of

_WORD = "the organization's own word for it"
_NUMBER = "a number, which leads to nobody once they are erased"
_INSTANCE = {"instance_id": name_of("compute_instance", "instance_id")}
_INSTANCES = {
    **PROJECT,
    "region_id": name_of("catalog_region", "region_id", "name"),
    "instance_type_id": name_of("catalog_instancetype", "instance_type_id", "name"),
    "image_id": name_of("catalog_image", "image_id", "name"),
    "launched_by_id": name_of("accounts_user", "launched_by_id"),
    "launched_with_id": name_of("accounts_apikey", "launched_with_id"),
}
# How the reconciler goes about it.
_INNER = (
    *("pool_id", "reservation_id", "unspent_seconds", "holds_unit", "next_check_at", "lease_until"),
    *("generation", "boot_generation", "give_up_at", "request_digest"),
)

TABLES = (
    Table(
        "compute_sshkey",
        "public keys that members log in with",
        Whose.ORGANIZATION,
        Kept("a member keeps it"),
        "new instances get them",
        (Personal("name", _WORD), Personal("created_by_id", _NUMBER)),
        of_organization=Part("ssh_keys", shown=MADE_BY),
        of_person=Part("ssh_keys", "t.created_by_id = %(user)s", shown=MADE_BY),
        after_closing=CLOSED,
    ),
    Table(
        "compute_instance",
        "instances, from launch to end",
        Whose.ORGANIZATION,
        ORGANIZATION,
        "usage that was billed names them",
        (
            Personal("name", _WORD),
            Personal("ssh_key_names", _WORD),
            Personal("user_data", "the program that a member had it run, part of what the organization asked for"),
            Personal("launched_by_id", _NUMBER),
        ),
        of_organization=Part("instances", hidden=_INNER, shown=_INSTANCES),
        of_person=Part("instances", "t.launched_by_id = %(user)s", hidden=_INNER, shown=_INSTANCES),
        after_closing=AfterClosing(CLOSED.after, ("user_data",)),
    ),
    Table(
        "compute_healthinterval",
        "spans in which an instance was healthy",
        Whose.ORGANIZATION,
        ORGANIZATION,
        "they are what was billed",
        of_organization=Part("health_intervals", shown=_INSTANCE),
    ),
    Table(
        "compute_instanceevent",
        "the story of an instance in words",
        Whose.ORGANIZATION,
        ORGANIZATION,
        "it explains what was billed",
        of_organization=Part("instance_events", shown=_INSTANCE),
    ),
    Table(
        "compute_pool",
        "capacity by region and instance type",
        Whose.PORTAL,
        Kept("forever"),
        "instances name theirs; it says nothing of customers",
    ),
)
