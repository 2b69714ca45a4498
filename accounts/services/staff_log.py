"""Write down what staff do where no organization's log has it: in the log of the admin, by the services themselves."""

from datetime import datetime

from django.contrib.admin.models import ADDITION, CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db.models import Model

from accounts.models import User

LONGEST_NAME = 200


def note_addition(thing: Model, *, words: str, by: User, now: datetime) -> None:
    """Note that a staff member made a thing. words: one sentence, with no secret and nobody's name in it."""
    _note(thing, ADDITION, words, by, now)


def note_change(thing: Model, *, words: str, by: User, now: datetime) -> None:
    """Note that a staff member changed a thing. words: as above."""
    _note(thing, CHANGE, words, by, now)


def _note(thing: Model, flag: int, words: str, by: User, now: datetime) -> None:
    LogEntry.objects.create(
        user=by,
        content_type=ContentType.objects.get_for_model(thing),
        object_id=str(getattr(thing, "public_id", thing.pk)),
        object_repr=str(thing)[:LONGEST_NAME],
        action_flag=flag,
        change_message=words,
        action_time=now,
    )
