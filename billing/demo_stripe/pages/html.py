"""The frame of every hosted page, and the few parts that they are made of."""

from html import escape

from billing.demo_stripe.cards import CARDS, TestCard
from billing.demo_stripe.refusals import Body
from billing.demo_stripe.web import Answer

_STYLE = """
body{margin:0;font:16px/1.5 system-ui,sans-serif;color:#1c1f24;background:#f3f4f6}
main{max-width:34rem;margin:2rem auto;padding:1.5rem;background:#fff;border:1px solid #d5d9e0;border-radius:.5rem}
.notice{margin:0;padding:.6rem 1rem;background:#5b21b6;color:#fff;text-align:center}
h1{font-size:1.4rem;margin:0 0 .5rem}h2{font-size:1.05rem;margin:1.5rem 0 .5rem}
table{width:100%;border-collapse:collapse}td{padding:.25rem 0}td+td{text-align:right}
button{font:inherit;padding:.5rem .8rem;border:1px solid #8a92a0;border-radius:.35rem;background:#fff;cursor:pointer}
button.main{background:#1d4ed8;border-color:#1d4ed8;color:#fff}
.cards{display:grid;gap:.4rem}.cards button{text-align:left;width:100%}
label{display:block;margin:.5rem 0}input{font:inherit;padding:.4rem;width:100%;box-sizing:border-box}
[role=alert]{padding:.6rem;background:#fee2e2;border:1px solid #b91c1c;border-radius:.35rem;color:#7f1d1d}
code{font-size:.9em}
"""


def page(title: str, content: str, status: int = 200) -> Answer:
    """Return a whole page. content: HTML, whose texts are escaped by who made it."""
    body = f"""<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="robots" content="noindex">
<link rel="icon" href="data:,"><style>{_STYLE}</style></head><body>
<header><p class="notice">Demonstration: this is not Stripe, and no money moves.</p></header>
<main><h1>{escape(title)}</h1>
{content}</main></body></html>"""
    headers = {
        "Content-Type": "text/html; charset=utf-8",
        "Cache-Control": "no-store",
        "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
        "frame-ancestors 'none'",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
    return Answer(status, body.encode(), headers)


def usd(cents: int) -> str:
    return f"${cents // 100:,}.{cents % 100:02d}"


def alert(text: str) -> str:
    return f'<p role="alert">{escape(text)}</p>' if text else ""


def card_buttons(verb: str) -> str:
    """Return one button per test card, which sends the card's number as `card`."""
    buttons = "".join(
        f'<button name="card" value="{card.number}">{escape(verb)} with <code>{_spaced(card)}</code>: '
        f"{escape(card.label)}</button>"
        for card in CARDS
    )
    return f'<div class="cards">{buttons}</div>'


def link(url: str, words: str) -> str:
    return f'<p><a href="{escape(url)}">{escape(words)}</a></p>'


def card_words(method: Body) -> str:
    card = method["card"]
    return f"{card['brand'].title()} ending in {card['last4']}, until {card['exp_month']:02d}/{card['exp_year']}"


def _spaced(card: TestCard) -> str:
    return " ".join(card.number[place : place + 4] for place in range(0, len(card.number), 4))
