"""A process that tries to sign in, for tests of limits that hold over several of them.

Reads one line of JSON per step from its standard input and answers with one: `{"wrong": n, "email": …}` tries n wrong
passwords and says how many were looked at; `{"password": …, "email": …}` goes to the second factor; `{"code": …}` sends
its code and says whether that signed in.
"""

import json
import sys
from typing import Any

import django

if __name__ == "__main__":
    django.setup()

from django.test import Client
from django.urls import reverse

TOO_MANY = "Too many failed login attempts"


def answer(client: Client, step: dict[str, Any]) -> dict[str, Any]:
    if "wrong" in step:
        return {"looked_at": sum(try_wrong(client, step["email"], number) for number in range(step["wrong"]))}
    if "password" in step:
        form = {"login": step["email"], "password": step["password"]}
        sent = client.post(reverse("account_login"), form)
        return {"at_second_factor": sent.get("Location") == reverse("mfa_authenticate")}
    client.post(reverse("mfa_authenticate"), {"code": step["code"]})
    return {"signed_in": "_auth_user_id" in client.session}


def try_wrong(client: Client, email: str, number: int, **more: str) -> bool:
    """Send a wrong password; return whether the portal looked at it at all."""
    form = {"login": email, "password": f"a wrong password {number}"}
    sent = client.post(reverse("account_login"), form, **more)  # type: ignore[arg-type]  # parts of the environment
    return sent.status_code == 200 and TOO_MANY not in sent.content.decode()


if __name__ == "__main__":
    asking = Client(headers={"host": "127.0.0.1"})
    for line in sys.stdin:
        sys.stdout.write(json.dumps(answer(asking, json.loads(line))) + "\n")
        sys.stdout.flush()
