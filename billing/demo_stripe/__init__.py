"""A stateful double of Stripe's API over HTTP, for `make up` without Stripe's keys and for tests; it moves no money.

It imports nothing of the portal, and not Stripe's library but reads its source: that is generated from Stripe's own
description of its API, so requests and answers are held to what the library of this very version says of them.
"""
