"""The mail of a development portal: files in var/mail, for the page /dev/mail/."""

import re
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

# What Django's file backend writes after each message.
SEPARATOR = b"-" * 79 + b"\n"
FILE_NAME = re.compile(r"[A-Za-z0-9_-]+\.log")


@dataclass(frozen=True, slots=True)
class Mail:
    """One message: file is its file's name, number its place in that file from 1 on."""

    file: str
    number: int
    to: str
    subject: str
    date: str
    text: str


def read_mails(folder: Path) -> list[Mail]:
    """Return every message in the folder, newest first; none when the folder does not exist."""
    files = [path for path in folder.glob("*.log") if path.is_file()] if folder.is_dir() else []
    newest_first = sorted(files, key=lambda path: (path.stat().st_mtime_ns, path.name), reverse=True)
    return [mail for path in newest_first for mail in reversed(_mails_in(path))]


def read_file(folder: Path, name: str) -> list[Mail]:
    """Return the messages of one file directly in the folder, oldest first; none for any other name."""
    path = folder / name
    if not FILE_NAME.fullmatch(name) or path.is_symlink() or not path.is_file():
        return []
    return _mails_in(path)


def _mails_in(path: Path) -> list[Mail]:
    parts = [part for part in path.read_bytes().split(SEPARATOR) if part.strip()]
    return [_mail(path.name, number, part) for number, part in enumerate(parts, 1)]


def _mail(file: str, number: int, content: bytes) -> Mail:
    message = message_from_bytes(content, EmailMessage, policy=policy.default)
    body = message.get_body(("plain", "html"))
    return Mail(
        file=file,
        number=number,
        to=str(message["To"] or ""),
        subject=str(message["Subject"] or ""),
        date=str(message["Date"] or ""),
        text=body.get_content().strip() if body else "",
    )
