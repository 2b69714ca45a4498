"""The pages that Stripe hosts: Checkout, the customer portal, and a bank's 3-D Secure page, in plain HTML."""
