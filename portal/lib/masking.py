"""What opens something is not written down: secrets in a text are replaced before it reaches a log or a row.

Secrets are known by their shape (API keys, signing secrets) or by what stands before them (`Bearer`, `session=`,
`/invitations/`). One without either, such as the random letters of a session alone, looks like any other word: what
writes such a thing down is wrong in the first place, and tests/test_secrets_in_logs.py looks for it.
"""

import re

MASK = "***"

# What follows a name: up to a blank, a quote or a comma. Of backslashes only those of a letter's escape in JSON, so
# that a masked line of JSON is one still.
_VALUE = r"""(?:[^\s"'\\,;&<>]|\\u[0-9a-f]{4})"""
# Between the name of a field and its value in the body of a form with files; printed it is backslashes and letters.
_BLANK_LINE = r"(?:\r\n|\\+r\\+n){2}"
_NAMED = "session(?:id)?|csrf(?:token|middlewaretoken)?|password|client_secret|(?:access|id|refresh)_token"
_SECRETS = re.compile(
    "|".join(
        [
            # An API key (portal/lib/key_format.py), also one that was cut short or mistyped.
            r"(?P<key>_(?:live|test|mgmt|op|scim)_)[0-9a-z]{16,}",
            r"(?P<signing>whsec_)[0-9a-z+/=_%-]+",
            rf"(?P<scheme>(?:bearer|basic)(?:\s|%20|\+)+){_VALUE}{{4,}}",
            rf"""(?P<named>(?:{_NAMED})\\*["']?\s*(?:=|:|%3[ad]|{_BLANK_LINE})\s*\\*["']?){_VALUE}{{6,}}""",
            # The page of an invitation, and a way back to it; invite_… is its public id.
            r"(?P<place>(?:/|%2f)invitations(?:/|%2f))(?!invite_)[^\s\"'\\,;&<>/?#%]+",
        ]
    ),
    re.IGNORECASE,
)
# One of these is in every text that the expression finds something in. Looking for them takes a tenth of the time.
_HINTS = (
    *("_live_", "_test_", "_mgmt_", "_op_", "_scim_", "whsec_", "bearer", "basic", "invitations"),
    *("session", "csrf", "password", "client_secret", "_token"),
)


def masked(text: str) -> str:
    """Return the text with secrets replaced by `***`; what says of which kind they were stays."""
    lower = text.lower()
    for hint in _HINTS:
        if hint in lower:
            return _SECRETS.sub(_without_secret, text)
    return text


def _without_secret(found: re.Match[str]) -> str:
    # lastgroup names the alternative that matched: each has one group, of what may stay.
    return f"{found[found.lastgroup or 0]}{MASK}"
