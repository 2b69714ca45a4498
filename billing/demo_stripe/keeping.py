"""The state in a file, so that a development portal finds its customers at Stripe again after a restart."""

import json
import threading
from dataclasses import asdict
from pathlib import Path

from billing.demo_stripe.account import Account, Later, Secrets
from billing.demo_stripe.cards import card_numbered
from billing.demo_stripe.refusals import Body

SECONDS_BETWEEN = 1


class Keeper:
    """Keeps an account in a file: what changed is written at most every second, and when the double ends."""

    def __init__(self, account: Account, path: Path) -> None:
        self.account = account
        self.path = path
        self._written = ""
        self._ended = threading.Event()

    def load(self) -> None:
        """Bring back what an earlier run kept. Nothing happens when there is nothing."""
        if self.path.exists():
            with self.account.lock:
                _restore(self.account, json.loads(self.path.read_text()))

    def keep_on(self) -> None:
        """Write what changed, until `end`."""
        while not self._ended.wait(SECONDS_BETWEEN):
            self.write()

    def end(self) -> None:
        self._ended.set()
        self.write()

    def write(self) -> None:
        with self.account.lock:
            text = json.dumps(_snapshot(self.account))
            if text == self._written:
                return
            # Whole or not at all, and for nobody else: it holds the secrets that sign.
            draft = self.path.with_suffix(".new")
            draft.touch(mode=0o600)
            draft.write_text(text)
            draft.replace(self.path)
            self._written = text


def _snapshot(account: Account) -> Body:
    kept = account.secrets
    return {
        "objects": account.objects,
        "offset_seconds": account.offset_seconds,
        "later": [asdict(each) for each in account.later],
        "cards": {name: card.number for name, card in kept.cards.items()},
        "set_up": sorted(kept.set_up),
        "spent": sorted(kept.spent),
        "authenticated": kept.authenticated,
        "made_with": kept.made_with,
        "signing": kept.signing,
        "payouts": {name: sorted(paid) for name, paid in kept.payouts.items()},
    }


def _restore(account: Account, kept: Body) -> None:
    account.objects = kept["objects"]
    account.offset_seconds = kept["offset_seconds"]
    account.later = [Later(each["due"], each["verb"], tuple(each["names"])) for each in kept["later"]]
    cards = {name: card_numbered(number) for name, number in kept["cards"].items()}
    account.secrets = Secrets(
        cards={name: card for name, card in cards.items() if card is not None},
        set_up=set(kept["set_up"]),
        spent=set(kept["spent"]),
        authenticated=kept["authenticated"],
        made_with=kept["made_with"],
        signing=kept["signing"],
        payouts={name: set(paid) for name, paid in kept["payouts"].items()},
    )
