"""Plain helpers at the bottom of the stack: no models, no imports from an app."""
