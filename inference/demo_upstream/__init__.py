"""A small OpenAI-compatible model server for `make up` and the tests; it says in its answers that it is one.

It imports nothing of the portal, because the portal must not be able to tell it from a real server.
"""
