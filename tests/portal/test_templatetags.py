from datetime import UTC, datetime

import pytest
import time_machine

from portal.templatetags.portal import time


@pytest.mark.parametrize(
    ("instant", "shown"),
    [
        (datetime(2026, 11, 25, 18, 51, tzinfo=UTC), ">Nov 25, 18:51<"),
        (datetime(2027, 11, 25, 18, 51, tzinfo=UTC), ">Nov 25, 2027, 18:51<"),
        (datetime(2025, 12, 31, 23, 59, tzinfo=UTC), ">Dec 31, 2025, 23:59<"),
    ],
)
def test_an_instant_of_another_year_says_which(instant: datetime, shown: str):
    with time_machine.travel(datetime(2026, 11, 25, tzinfo=UTC), tick=False):
        assert shown in time(instant)
