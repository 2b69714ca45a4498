"""What Stripe's API takes and answers, read from the source of the installed `stripe` package without importing it."""
