# Long because it is one list: every table with what it holds, how long and why.
"""How long the tables of people and organizations are kept, with those of the libraries that people sign in by."""

from portal.lib.retention import AfterClosing, Age, Deleted, Kept, LeftOut, Part, Personal, Table, Whose, name_of

ACCOUNT = Kept("the account")
ORGANIZATION = Kept("the organization")
PORTAL = Kept("forever")
OF_USER = "t.user_id = %(user)s"
USER = {"user_id": name_of("accounts_user", "user_id")}
MADE_BY = {"created_by_id": name_of("accounts_user", "created_by_id")}
API_KEY = {"api_key_id": name_of("accounts_apikey", "api_key_id")}
MEMBERSHIP = {"membership_id": name_of("accounts_membership", "membership_id")}
INVITED_BY = {"invited_by_id": name_of("accounts_user", "invited_by_id")}
PROJECT = {"project_id": name_of("accounts_project", "project_id")}
SERVICE_ACCOUNT = {"service_account_id": name_of("accounts_serviceaccount", "service_account_id")}

# What a legal hold keeps: rows of an organization that is under one, and rows of its members.
HELD_BY_ORGANIZATION = "EXISTS (SELECT FROM accounts_organization AS o WHERE o.id = t.organization_id AND o.legal_hold)"
_HELD_MEMBER = (
    "SELECT FROM accounts_membership AS m JOIN accounts_organization AS o ON o.id = m.organization_id AND o.legal_hold"
)
HELD_BY_PERSON = f"EXISTS ({_HELD_MEMBER} WHERE m.user_id = t.user_id)"
HELD_BY_SESSION = (
    f"EXISTS ({_HELD_MEMBER}"
    " JOIN usersessions_usersession AS s ON s.user_id = m.user_id WHERE s.session_key = t.session_key)"
)

ANSWERS = Age(days=1)
SESSIONS = Age(days=90)
ORIGINS = Age(days=400)
FORMER_SECRETS = Age(days=400)
INVITATIONS = Age(days=90)
STAFF_LOG = Age(days=400)
NOTICES = Age(days=90)
# Long enough to say who could get in, when something of its last days comes up; nobody can use any of it meanwhile.
CLOSED = AfterClosing(Age(days=30))

TABLES = (
    Table(
        "accounts_user",
        "people: how they sign in and what they are called",
        Whose.PERSON,
        Kept("forever"),
        "an erased person leaves a row without identifiers: receipts and entries refer to its number and public id",
        (Personal("email"), Personal("full_name"), Personal("password"), Personal("time_zone"), Personal("last_login")),
        of_person=Part("profile", "t.id = %(user)s", hidden=("password",)),
    ),
    Table(
        "accounts_user_groups",
        "which staff groups a person is in",
        Whose.PERSON,
        ACCOUNT,
        "it is what staff may do",
        (Personal("user_id"),),
        of_person=Part("staff_groups", OF_USER, shown={"group_id": name_of("auth_group", "group_id", "name")}),
    ),
    Table(
        "accounts_user_user_permissions",
        "what a member of staff may do beside their groups",
        Whose.PERSON,
        ACCOUNT,
        "it is what staff may do",
        (Personal("user_id"),),
        of_person=Part(
            "staff_permissions",
            OF_USER,
            shown={"permission_id": name_of("auth_permission", "permission_id", "codename")},
        ),
    ),
    Table(
        "accounts_organization",
        "organizations",
        Whose.ORGANIZATION,
        Kept("forever"),
        "bills and the audit log belong to it",
        (
            Personal("name", "the organization's own name, which its members choose and can change"),
            Personal("slug", "the organization's address, which programs and links use"),
        ),
        of_organization=Part("organization", "t.id = %(organization)s", hidden=("announced",)),
    ),
    Table(
        "accounts_project",
        "projects",
        Whose.ORGANIZATION,
        ORGANIZATION,
        "usage and keys belong to one",
        (Personal("name", "the organization's own word for it"), Personal("slug", "made from the name")),
        of_organization=Part("projects"),
    ),
    Table(
        "accounts_membership",
        "who is in which organization, in which role",
        Whose.ORGANIZATION,
        Kept("the person is a member"),
        "it is what lets them in",
        (Personal("user_id"),),
        of_organization=Part(
            "members",
            shown=USER
            | {
                "email": name_of("accounts_user", "user_id", "email"),
                "full_name": name_of("accounts_user", "user_id", "full_name"),
            },
        ),
        of_person=Part(
            "memberships",
            OF_USER,
            shown=USER | {"organization": name_of("accounts_organization", "organization_id", "name")},
        ),
    ),
    Table(
        "accounts_apikey",
        "API keys: name, digest, rights, last use; never the secret",
        Whose.ORGANIZATION,
        ORGANIZATION,
        "receipts and usage say which key they came from",
        (
            Personal("name", "the organization's own word for the key"),
            Personal("created_by_id", "a number, which leads to nobody once they are erased"),
            Personal("last_used_address"),
            Personal("last_used_agent"),
        ),
        of_organization=Part("api_keys", hidden=("digest", "hash_version"), shown=PROJECT | MADE_BY | SERVICE_ACCOUNT),
        of_person=Part(
            "api_keys",
            "t.created_by_id = %(user)s",
            hidden=("digest", "hash_version"),
            shown=PROJECT | MADE_BY | SERVICE_ACCOUNT,
        ),
        after_closing=AfterClosing(CLOSED.after, ("last_used_address", "last_used_agent")),
    ),
    Table(
        "accounts_serviceaccount",
        "service accounts: programs that are members of a project",
        Whose.ORGANIZATION,
        ORGANIZATION,
        "keys, and through them receipts and usage, say whose they are",
        (
            Personal("name", "the organization's own word for the program"),
            Personal("description", "as name"),
            Personal("created_by_id", "a number, which leads to nobody once they are erased"),
        ),
        of_organization=Part("service_accounts", shown=PROJECT | MADE_BY),
        of_person=Part("service_accounts", "t.created_by_id = %(user)s", shown=PROJECT | MADE_BY),
    ),
    Table(
        "accounts_organizationterms",
        "what an organization may owe and when it pays, and which members of staff agreed on it",
        Whose.ORGANIZATION,
        ORGANIZATION,
        "what was invoiced was owed under it",
        (
            Personal("proposed_by_id", "a number, which leads to nobody once they are erased"),
            Personal("approved_by_id", "a number, which leads to nobody once they are erased"),
        ),
        of_organization=Part("terms", hidden=("proposed_by_id", "approved_by_id"), only="t.begun_at IS NOT NULL"),
        # A member of staff is told which terms they touched, not what those say.
        of_person=Part(
            "terms_of_staff",
            "%(user)s IN (t.proposed_by_id, t.approved_by_id)",
            hidden=(
                *("credit_limit_nano", "net_days", "needs_purchase_order", "invoice_above_nano"),
                *("proposed_by_id", "approved_by_id"),
            ),
        ),
    ),
    Table(
        "accounts_operatorkey",
        "keys of the owner's own systems",
        Whose.PORTAL,
        PORTAL,
        "the owner's records name them",
    ),
    Table(
        "accounts_keptanswer",
        "answers to requests with an Idempotency-Key, sealed with the caller's API key",
        Whose.ORGANIZATION,
        Deleted(ANSWERS, "created_at", HELD_BY_ORGANIZATION),
        "a repetition is answered for a day",
        of_organization=LeftOut("only who asked can open them, and they had the answer already"),
    ),
    Table(
        "accounts_ratelimit",
        "how fast an organization, its projects and its keys may call models",
        Whose.ORGANIZATION,
        ORGANIZATION,
        "it says how the organization may work",
        of_organization=Part("rate_limits", shown={**PROJECT, **API_KEY}),
    ),
    Table(
        "accounts_retiredsecret",
        "former secrets of rotated keys, as digests",
        Whose.ORGANIZATION,
        Deleted(FORMER_SECRETS, "valid_until", HELD_BY_ORGANIZATION),
        "a former secret that turns up in public is still known as ours, and whose",
        of_organization=Part("former_secrets", hidden=("digest",), shown=API_KEY),
    ),
    Table(
        "accounts_keyleak",
        "secrets that were found in public, and who was told",
        Whose.ORGANIZATION,
        ORGANIZATION,
        "it says why a key ended",
        (Personal("url", "where the finder saw it; the finder's word, with no secret in it"),),
        of_organization=Part("leaked_keys", shown=API_KEY),
    ),
    Table(
        "accounts_invitation",
        "who was invited to which organization",
        Whose.ORGANIZATION,
        Deleted(INVITATIONS, "expires_at", HELD_BY_ORGANIZATION),
        "long enough to see who was asked and to ask again",
        (Personal("email"), Personal("invited_by_id", "a number, which leads to nobody once they are erased")),
        of_organization=Part("invitations", hidden=("digest",), shown=INVITED_BY),
        of_person=Part(
            "invitations_sent",
            "t.invited_by_id = %(user)s",
            hidden=("digest", "email"),
            shown=INVITED_BY | {"organization": name_of("accounts_organization", "organization_id", "name")},
        ),
        after_closing=CLOSED,
    ),
    Table(
        "accounts_projectmembership",
        "who leads a project and who works in it",
        Whose.ORGANIZATION,
        Kept("the person is a member"),
        "it says whose part in a project it is",
        of_organization=Part(
            "project_members", shown=PROJECT | {"membership_id": name_of("accounts_membership", "membership_id")}
        ),
    ),
    Table(
        "accounts_domain",
        "domains that an organization has claimed or proved to be its own",
        Whose.ORGANIZATION,
        ORGANIZATION,
        "it says whose people may join by themselves, and for whom an identity provider speaks",
        of_organization=Part("domains"),
        after_closing=CLOSED,
    ),
    Table(
        "accounts_ssoconnection",
        "identity providers of organizations; the client secret is sealed",
        Whose.ORGANIZATION,
        ORGANIZATION,
        "its people sign in through it",
        of_organization=Part("single_sign_on", hidden=("client_secret",)),
        after_closing=CLOSED,
    ),
    Table(
        "accounts_ssoidentity",
        "by which name an identity provider knows a member",
        Whose.ORGANIZATION,
        Kept("the person is a member"),
        "it is what lets them in",
        (Personal("subject"),),
        of_organization=Part("single_sign_on_identities", hidden=("connection_id",), shown=MEMBERSHIP),
        of_person=Part(
            "single_sign_on_identities",
            "t.membership_id IN (SELECT m.id FROM accounts_membership AS m WHERE m.user_id = %(user)s)",
            hidden=("connection_id",),
            shown=MEMBERSHIP,
        ),
        after_closing=CLOSED,
    ),
    Table(
        "accounts_directorytoken",
        "tokens by which a directory provisions people: name, digest, last use; never the secret",
        Whose.ORGANIZATION,
        ORGANIZATION,
        "the audit log says which token did what",
        (
            Personal("name", "the organization's own word for the token"),
            Personal("created_by_id", "a number, which leads to nobody once they are erased"),
        ),
        of_organization=Part("directory_tokens", hidden=("digest", "hash_version"), shown=MADE_BY),
        of_person=Part(
            "directory_tokens", "t.created_by_id = %(user)s", hidden=("digest", "hash_version"), shown=MADE_BY
        ),
        after_closing=CLOSED,
    ),
    Table(
        "accounts_directoryperson",
        "whom an organization's directory lists, and what it calls them",
        Whose.ORGANIZATION,
        Kept("the directory lists the person"),
        "it is whom the directory means when it says that somebody has left",
        (
            Personal("user_name"),
            Personal("external_id"),
            Personal("email"),
            Personal("given_name"),
            Personal("family_name"),
            Personal("formatted_name"),
            Personal("display_name"),
        ),
        of_organization=Part("directory_people", shown=MEMBERSHIP),
        of_person=Part(
            "directories",
            "t.membership_id IN (SELECT id FROM accounts_membership WHERE user_id = %(user)s)",
            shown=MEMBERSHIP | {"organization": name_of("accounts_organization", "organization_id", "name")},
        ),
        after_closing=CLOSED,
    ),
    Table(
        "accounts_directorygroup",
        "groups of an organization's directory, and the role that each gives",
        Whose.ORGANIZATION,
        Kept("the directory lists the group"),
        "it says what its people may do",
        (Personal("display_name", "the organization's own word for it"),),
        of_organization=Part("directory_groups"),
        after_closing=CLOSED,
    ),
    Table(
        "accounts_directorygroupmember",
        "who is in which group of a directory",
        Whose.ORGANIZATION,
        Kept("the directory lists both"),
        "it says whose role a group gives",
        of_organization=Part(
            "directory_group_members",
            shown={
                "group_id": name_of("accounts_directorygroup", "group_id"),
                "person_id": name_of("accounts_directoryperson", "person_id"),
            },
        ),
        after_closing=CLOSED,
    ),
    Table(
        "accounts_notice",
        "what owners are mailed about, by public id",
        Whose.ORGANIZATION,
        Deleted(NOTICES, "created_at", HELD_BY_ORGANIZATION),
        "long enough to see that the mail went out",
        (Personal("subject_id", "a public id, which leads to nobody once they are erased"),),
        of_organization=Part("notices"),
    ),
    Table(
        "accounts_auditevent",
        "the audit log: who did what, by public id",
        Whose.ORGANIZATION,
        Kept("the organization"),
        "each entry is tied to the one before it, and whoever deletes the oldest breaks the chain; entries name people"
        " by public id only, and what leads from it to a person is deleted (accounts_auditorigin) or erased",
        (
            Personal("changes", "an entry cannot be changed; it may hold names that members gave to keys and projects"),
            Personal("actor_id", "a public id, which leads to nobody once they are erased"),
            Personal("target_id", "as actor_id"),
            Personal("impersonator_id", "as actor_id"),
        ),
        of_organization=Part(
            "audit_log",
            key=("sequence",),
            shown={"previous": "encode(t.previous, 'hex')", "digest": "encode(t.digest, 'hex')"},
        ),
        of_person=Part(
            "audit_log",
            "t.actor_id = %(public_id)s OR t.target_id = %(public_id)s",
            key=("organization_id", "sequence"),
            # What was changed and to what is the organization's.
            hidden=("changes", "previous", "digest"),
            shown={"organization": name_of("accounts_organization", "organization_id")},
        ),
    ),
    Table(
        "accounts_auditendpoint",
        "addresses that the audit log is sent to, with sealed signing secrets",
        Whose.ORGANIZATION,
        Kept("a member does not remove it"),
        "it says where to send the log, and how far that is",
        of_organization=Part("audit_endpoints", hidden=("secret", "former_secret", "claim")),
        after_closing=CLOSED,
    ),
    Table(
        "accounts_auditorigin",
        "addresses and browsers that entries of the audit log came from",
        Whose.ORGANIZATION,
        Deleted(
            ORIGINS,
            "first_seen_at",
            HELD_BY_ORGANIZATION,
            "EXISTS (SELECT FROM accounts_auditevent AS e WHERE e.organization_id = t.organization_id"
            " AND e.actor_id = t.actor_id AND e.origin_id = t.public_id AND e.at > %(before)s)",
            "a younger entry names it",
        ),
        "long enough to find out about an intrusion; an entry stays valid without it",
        (Personal("address"), Personal("browser"), Personal("actor_id")),
        of_organization=Part("audit_origins"),
        of_person=Part("audit_origins", "t.actor_id = %(public_id)s"),
    ),
    # --- django-allauth ---
    Table(
        "account_emailaddress",
        "e-mail addresses of people",
        Whose.PERSON,
        ACCOUNT,
        "codes are sent there",
        (Personal("email"), Personal("user_id")),
        of_person=Part("email_addresses", OF_USER, shown=USER),
    ),
    Table(
        "account_emailconfirmation",
        "links that were mailed to confirm an address",
        Whose.PERSON,
        Deleted(
            SESSIONS,
            "created",
            "EXISTS (SELECT FROM account_emailaddress AS a"
            f" WHERE a.id = t.email_address_id AND {HELD_BY_PERSON.replace('t.user_id', 'a.user_id')})",
        ),
        "they work for days only",
        (Personal("email_address_id"),),
        of_person=LeftOut("single-use secrets; the addresses are in email_addresses"),
    ),
    Table(
        "mfa_authenticator",
        "passkeys, second factors and recovery codes; seeds and codes are encrypted",
        Whose.PERSON,
        ACCOUNT,
        "they open the account",
        (Personal("data"), Personal("user_id")),
        of_person=Part("passkeys", OF_USER, hidden=("data",), shown=USER | {"name": "t.data ->> 'name'"}),
    ),
    Table(
        "socialaccount_socialaccount",
        "accounts elsewhere that people sign in with, and what the provider says of them",
        Whose.PERSON,
        ACCOUNT,
        "they open the account",
        (Personal("uid"), Personal("extra_data"), Personal("user_id")),
        of_person=Part("accounts_elsewhere", OF_USER, shown=USER),
    ),
    Table(
        "socialaccount_socialtoken",
        "nothing: what a provider lets us do for a person is not stored",
        Whose.PERSON,
        ACCOUNT,
        "part of the program",
        of_person=LeftOut("nothing is ever stored"),
    ),
    Table(
        "socialaccount_socialapp",
        "nothing: clients come from the environment",
        Whose.PORTAL,
        PORTAL,
        "part of the program",
    ),
    Table(
        "usersessions_usersession",
        "sessions as their owner sees them: address, browser, last seen",
        Whose.PERSON,
        Deleted(SESSIONS, "last_seen_at", HELD_BY_PERSON),
        "long enough to recognize a stranger in the list",
        (Personal("ip"), Personal("user_agent"), Personal("user_id")),
        # The key of a session opens it.
        of_person=Part("sessions", OF_USER, hidden=("session_key",), shown=USER),
    ),
    # --- Django ---
    Table(
        "django_session",
        "what the portal remembers of a browser between two pages",
        Whose.PERSON,
        Deleted(SESSIONS, "expire_date", HELD_BY_SESSION),
        "nothing reads a session after it has expired; it may explain an incident",
        (Personal("session_data"),),
        of_person=LeftOut("the content opens the session; when and from where is in sessions"),
    ),
    Table(
        "django_admin_log",
        "what staff changed in the admin",
        Whose.PORTAL,
        Deleted(STAFF_LOG, "action_time", HELD_BY_PERSON),
        "as long as audit origins",
        (
            Personal("object_repr"),
            Personal("change_message"),
            Personal("user_id", "a number, which leads to nobody once they are erased"),
        ),
        of_person=Part("staff_log", OF_USER, hidden=("object_repr", "change_message"), shown=USER),
    ),
    Table("auth_group", "staff groups", Whose.PORTAL, PORTAL, "part of the program"),
    Table("auth_group_permissions", "what staff groups may do", Whose.PORTAL, PORTAL, "part of the program"),
    Table("auth_permission", "rights in the admin, by table", Whose.PORTAL, PORTAL, "part of the program"),
    Table("django_content_type", "names of tables", Whose.PORTAL, PORTAL, "part of the program"),
    Table("django_migrations", "which migrations have run", Whose.PORTAL, PORTAL, "part of the program"),
)
