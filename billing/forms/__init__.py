"""What people and addresses may tell billing, by subject."""
