"""A mail server that keeps what it takes and refuses some addresses, as the settings `MAILERS` name one."""

from smtplib import SMTPRecipientsRefused
from typing import Any

from django.core.mail.backends import locmem

REFUSED: dict[str, int] = {}  # address -> with which code of SMTP


class EmailBackend(locmem.EmailBackend):
    def send_messages(self, messages: Any) -> int:
        for message in messages:
            refused = {email: (REFUSED[email], b"no") for email in message.to if email in REFUSED}
            if refused:
                raise SMTPRecipientsRefused(refused)
        return super().send_messages(messages)
