"""Valid people, organizations, projects and keys with the fewest fields."""

from datetime import UTC, datetime
from itertools import count

from accounts.models import (
    AuditEndpoint,
    DirectoryGroup,
    DirectoryGroupMember,
    DirectoryPerson,
    Domain,
    Invitation,
    Membership,
    Organization,
    Project,
    ProjectMembership,
    ProjectRole,
    Role,
    Scope,
    ServiceAccount,
    SsoConnection,
    SsoIdentity,
    User,
)
from accounts.models.invitation import LIFE, invitation_digest, new_invitation_token
from accounts.sealed import AUDIT_SECRET, SSO_CLIENT_SECRET
from accounts.services.api_keys import CUSTOMER_SCOPES, IssuedKey, issue_key
from accounts.services.directory_tokens import LONGEST_LIFE, IssuedToken, issue_directory_token
from portal.lib.key_format import KeyKind
from tests.doubles.saml_provider import certificate_of, key_named

THEN = datetime(2026, 11, 1, tzinfo=UTC)
_numbers = count(1)


def make_user(email: str | None = None, password: str | None = None) -> User:
    return User.objects.create_user(email or f"person{next(_numbers)}@example.com", password)


def make_organization(name: str = "Acme", *, owner: User | None = None) -> Organization:
    """An organization with its first project, and with `owner` as its owner when given."""
    number = next(_numbers)
    organization = Organization.objects.create(
        name=name, slug=f"acme-{number}", kind=Organization.Kind.STARTUP, created_at=THEN
    )
    make_project(organization)
    if owner is not None:
        make_membership(organization, owner)
    return organization


def make_project(organization: Organization | None = None, name: str = "Default") -> Project:
    return Project.objects.create(
        organization=organization or make_organization(), name=name, slug=f"project-{next(_numbers)}", created_at=THEN
    )


def make_membership(organization: Organization, user: User | None = None, role: Role = Role.OWNER) -> Membership:
    return Membership.objects.create(organization=organization, user=user or make_user(), role=role, created_at=THEN)


def make_key(
    project: Project,
    *,
    scopes: tuple[Scope, ...] = CUSTOMER_SCOPES,
    kind: KeyKind = KeyKind.LIVE,
    now: datetime = THEN,
    service_account: ServiceAccount | None = None,
) -> IssuedKey:
    return issue_key(
        project=project,
        name="test",
        scopes=scopes,
        kind=kind,
        created_by=None,
        now=now,
        service_account=service_account,
    )


def make_service_account(
    project: Project, name: str = "robots", *, scopes: tuple[Scope, ...] = CUSTOMER_SCOPES, now: datetime = THEN
) -> ServiceAccount:
    return ServiceAccount.objects.create(
        organization=project.organization,
        project=project,
        name=name,
        scopes=[scope.value for scope in scopes],
        created_at=now,
    )


def make_project_membership(
    membership: Membership, project: Project, role: ProjectRole = ProjectRole.MEMBER
) -> ProjectMembership:
    return ProjectMembership.objects.create(
        organization=membership.organization, membership=membership, project=project, role=role, created_at=THEN
    )


def make_invitation(
    organization: Organization,
    email: str,
    *,
    invited_by: User,
    now: datetime,
    role: Role = Role.DEVELOPER,
    project: Project | None = None,
) -> tuple[Invitation, str]:
    """An invitation that was mailed at `now`, and the token of its link."""
    token = new_invitation_token()
    invitation = Invitation.objects.create(
        organization=organization,
        email=email,
        role=role,
        project=project,
        invited_by=invited_by,
        digest=invitation_digest(token),
        created_at=now,
        expires_at=now + LIFE,
        mailed_at=now,
        mail_count=1,
    )
    return invitation, token


# The example of the Standard Webhooks convention.
SIGNING_SECRET = "whsec_plJ3nmyCDGBKInavdOK15jsl"


def make_audit_endpoint(organization: Organization, url: str | None = None) -> AuditEndpoint:
    """An endpoint that gets the whole log, signed with SIGNING_SECRET."""
    endpoint = AuditEndpoint(
        organization=organization,
        url=url or f"https://hooks{next(_numbers)}.example.com/audit",
        created_at=THEN,
        delivered_sequence=0,
    )
    endpoint.secret = AUDIT_SECRET.seal(SIGNING_SECRET, row=endpoint.public_id)
    endpoint.save()
    return endpoint


def make_domain(
    organization: Organization, name: str, *, verified_at: datetime | None = THEN, join_role: Role | None = None
) -> Domain:
    """A domain that the organization has verified, or with None only claimed."""
    return Domain.objects.create(
        organization=organization,
        name=name,
        join_role=join_role or "",
        created_at=THEN,
        verified_at=verified_at,
        checked_at=verified_at,
    )


def make_sso_connection(organization: Organization, issuer: str = "https://login.example") -> SsoConnection:
    connection = SsoConnection(
        organization=organization, issuer=issuer, client_id="portal", created_at=THEN, changed_at=THEN
    )
    connection.client_secret = SSO_CLIENT_SECRET.seal("a client secret", row=connection.public_id)
    connection.save()
    return connection


def make_saml_connection(organization: Organization) -> SsoConnection:
    return SsoConnection.objects.create(
        organization=organization,
        protocol=SsoConnection.Protocol.SAML,
        issuer="https://idp.example/metadata",
        sign_in_url="https://idp.example/sign-in",
        certificates=[certificate_of(key_named("idp"))],
        created_at=THEN,
        changed_at=THEN,
    )


def make_sso_identity(connection: SsoConnection, membership: Membership, subject: str = "u-1") -> SsoIdentity:
    return SsoIdentity.objects.create(
        organization=connection.organization,
        connection=connection,
        membership=membership,
        subject=subject,
        created_at=THEN,
        last_used_at=THEN,
    )


def lock_behind_sso(owner: Membership) -> SsoConnection:
    """Require single sign-on in an owner's organization, which the owner may enter without it."""
    connection = make_sso_connection(owner.organization)
    make_sso_identity(connection, owner)
    Membership.objects.filter(pk=owner.pk).update(is_break_glass=True)
    Organization.objects.filter(pk=owner.organization_id).update(sso_required_at=THEN)
    return connection


def make_directory_token(by: Membership, *, now: datetime, name: str = "directory") -> IssuedToken:
    """A token that works for a year. by: an owner or admin of the organization."""
    return issue_directory_token(name=name, life=LONGEST_LIFE, by=by, now=now)


def make_directory_person(
    organization: Organization, email: str, *, membership: Membership | None = None, name: str = ""
) -> DirectoryPerson:
    """Somebody whom the directory lists, active if there is a membership."""
    return DirectoryPerson.objects.create(
        organization=organization,
        user_name=email,
        email=email,
        display_name=name,
        membership=membership,
        created_at=THEN,
        changed_at=THEN,
    )


def make_directory_group(
    organization: Organization, name: str, *people: DirectoryPerson, role: Role | None = None
) -> DirectoryGroup:
    group = DirectoryGroup.objects.create(
        organization=organization, display_name=name, role=role or "", created_at=THEN, changed_at=THEN
    )
    for person in people:
        DirectoryGroupMember.objects.create(organization=organization, group=group, person=person)
    return group
